"""The `--config` file: TOML defaults for the options, checked against the options there are."""

from pathlib import Path
from typing import Any

import click

from finsent_batch.config import AUTO
from finsent_batch.errors import ConfigError, MissingInputError

from .options import CONFIG_FILE, Sure

_PATH = "path"
"""The key of `--store` in the table of the group `store`: TOML has one value a name."""


def load_config_file(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    """Make the file's values Click's defaults.

    Raises:
        MissingInputError: no such file.
        ConfigError: not TOML, an unknown key, or a value of the wrong type.
    """
    if file is None:
        return
    from finsent_batch.io.text.parsing import parse_toml

    try:
        values = parse_toml(file.read_text("utf-8"))
    except FileNotFoundError:
        raise MissingInputError(f"--config {file} does not exist: check the path") from None
    except ValueError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    assert isinstance(ctx.command, click.Group)
    ctx.meta[CONFIG_FILE] = str(file)
    ctx.default_map = _checked(ctx.command, ctx, values, str(file), "")


def option_name(option: click.Option) -> str:
    """Return an option's name as users write it, without dashes in front."""
    return max(option.opts, key=len).lstrip("-")


def settings_of(command: click.Command) -> dict[str, click.Option]:
    """Return the options that a file or the environment may set, by name."""
    return {
        option_name(p): p
        for p in command.params
        if isinstance(p, click.Option) and p.name not in ("config_file", "help", "version")
    }


def commands_of(command: click.Command) -> dict[str, click.Command]:
    """Return a group's commands that have settings, they themselves or commands of theirs.

    `config`, which shows the settings, has none: a file's `config = …` is a mistake.
    """
    found = command.commands if isinstance(command, click.Group) else {}
    return {
        name: sub
        for name, sub in found.items()
        if name != "config" and (settings_of(sub) or commands_of(sub))
    }


def _checked(
    command: click.Command, ctx: click.Context, values: dict[str, Any], file: str, table: str
) -> dict[str, Any]:
    options, commands = settings_of(command), commands_of(command)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        option = options.get(key.replace("_", "-"))
        if key in commands and isinstance(value, dict):
            inner = dict(value)
            if option is not None and _PATH in inner:
                given = inner.pop(_PATH)
                checked[str(option.name)] = _converted(option, ctx, given, f"{file}: {key}.{_PATH}")
            checked[key] = _checked(commands[key], ctx, inner, file, f"{table}{key}.")
        elif option is not None:
            checked[str(option.name)] = _converted(option, ctx, value, f"{file}: {table}{key}")
        elif key in commands:
            raise ConfigError(f"{file}: {table}{key} = {value!r}: must be a table, [{table}{key}]")
        else:
            known = ", ".join(
                sorted({*options, *commands, *([_PATH] if table == "store." else [])})
            )
            where = f"[{table.rstrip('.')}]" if table else "the top level"
            raise ConfigError(f"{file}: unknown key {key!r} in {where}; known: {known}")
    return checked


def _converted(option: click.Option, ctx: click.Context, value: object, where: str) -> Any:
    values = value if option.multiple and isinstance(value, list) else [value]
    kind, wanted = _toml_type(option)
    if option.multiple and not isinstance(value, list):
        raise ConfigError(f"{where} = {value!r}: must be a list")
    # bool is an int to Python, never to TOML.
    if any(not isinstance(v, kind) or (isinstance(v, bool) and kind is not bool) for v in values):
        raise ConfigError(f"{where} = {value!r}: must be {wanted}")
    try:
        return option.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise ConfigError(f"{where} = {value!r}: {error.message}") from None


def _toml_type(option: click.Option) -> tuple[Any, str]:
    if option.is_flag:
        return bool, "true or false"
    if isinstance(option.type, click.types.IntParamType):
        return int, "a whole number"
    if isinstance(option.type, Sure):
        return (int, float, str), f'a number or "{AUTO}"'
    if isinstance(option.type, click.types.FloatParamType):
        return (int, float), "a number"
    return str, "a list of text" if option.multiple else "text"
