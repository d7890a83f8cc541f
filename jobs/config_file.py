"""The `--config` file: TOML defaults for the options, checked against the options there are."""

import tomllib
from pathlib import Path
from typing import Any

import click

from finsent_batch.errors import ConfigError, MissingInputError


def load_config_file(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    """Make the file's values Click's defaults.

    Raises:
        MissingInputError: no such file.
        ConfigError: not TOML, an unknown key, or a value of the wrong type.
    """
    if file is None:
        return
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise MissingInputError(f"--config {file} does not exist: check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    assert isinstance(ctx.command, click.Group)
    ctx.default_map = _checked(ctx.command, ctx, values, str(file), "")


def _checked(
    command: click.Command, ctx: click.Context, values: dict[str, Any], file: str, table: str
) -> dict[str, Any]:
    options = {
        p.name: p for p in command.params if isinstance(p, click.Option) and p.name is not None
    }
    commands = command.commands if isinstance(command, click.Group) else {}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if key in commands and isinstance(value, dict):
            checked[key] = _checked(commands[key], ctx, value, file, f"{table}{key}.")
        elif name in options and name not in ("config_file", "help", "version"):
            try:
                checked[name] = options[name].type_cast_value(ctx, value)
            except (click.BadParameter, TypeError) as error:
                message = getattr(error, "message", str(error))
                raise ConfigError(f"{file}: {table}{key} = {value!r}: {message}") from None
        else:
            known = sorted([*(n.replace("_", "-") for n in options), *commands])
            where = f"[{table.rstrip('.')}]" if table else "the top level"
            raise ConfigError(f"{file}: unknown key {key!r} in {where}; known: {', '.join(known)}")
    return checked
