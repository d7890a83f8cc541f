"""Parse JSON and TOML that others wrote: whatever is wrong with it is a ValueError."""

import json
import tomllib
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return what JSON text says.

    Raises:
        ValueError: it is no JSON, or too deep to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return what TOML text says.

    Raises:
        ValueError: it is no TOML, too deep to be read, or holds a NUL, which no path can.
    """
    try:
        found = tomllib.loads(text)
        _check_no_nul(found)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return found


def _check_no_nul(value: Any) -> None:
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"a NUL character in {value[:40]!r}")
    children: list[Any] = value if isinstance(value, list) else []
    if isinstance(value, dict):
        children = [*value, *value.values()]
    for child in children:
        _check_no_nul(child)
