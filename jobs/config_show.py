"""`finsent-batch config show`: each setting and where it came from."""

import click
from click.core import ParameterSource

from .config_file import commands_of, settings_of
from .tables.formats import chosen_format, format_option, print_rows

_WORDS = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "config file",
    ParameterSource.DEFAULT: "default",
}


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.argument("command", required=False)
@format_option
@click.pass_context
def show(ctx: click.Context, command: str | None, format_: str | None) -> None:
    """Print each option's value and where it came from; COMMAND limits it to one command.

    \b
    finsent-batch config show
    FINSENT_SCORE_MODEL=my-model finsent-batch --config nightly.toml config show score
    """
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    commands = root.command.commands
    if command is not None and command not in commands:
        raise click.UsageError(f"no command {command!r}; there are: {', '.join(commands)}")
    rows = _values("", root)
    for name, found in commands_of(root.command).items():
        if command in (None, name):
            rows += _values_of(name, found, f"{name}.", root)
    print_rows(["option", "value", "from"], rows, chosen_format(format_))


def _values_of(
    name: str, command: click.Command, prefix: str, parent: click.Context
) -> list[list[object]]:
    # Resilient parsing: required options without a value are shown, not refused.
    ctx = command.make_context(name, [], parent=parent, resilient_parsing=True)
    rows = _values(prefix, ctx)
    for inner, found in commands_of(command).items():
        rows += _values_of(inner, found, f"{prefix}{inner}.", ctx)
    return rows


def _values(prefix: str, ctx: click.Context) -> list[list[object]]:
    rows: list[list[object]] = []
    for option, parameter in settings_of(ctx.command).items():
        name = str(parameter.name)
        source = ctx.get_parameter_source(name)
        value = ctx.params.get(name)
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        shown = ", ".join(map(str, values)) or _refused(parameter, ctx) or "not set"
        rows.append(
            [prefix + option, shown, _WORDS.get(source, "default") if source else "default"]
        )
    return rows


def _refused(option: click.Option, ctx: click.Context) -> str:
    """Return why an option does not take its variable's value, which resilient parsing drops."""
    try:
        option.type_cast_value(ctx, option.value_from_envvar(ctx))
    except click.BadParameter as error:
        return f"refused: {error.message}"
    return ""
