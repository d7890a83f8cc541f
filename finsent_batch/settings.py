"""Settings that check themselves: text or path, a model by its name, one clear error for the rest.

The field types of the dataclasses that derive from `Settings` decide: nothing is listed twice.
"""

import operator
import os
import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin


class Settings:
    """Base of the frozen settings: converts what means the same, refuses what cannot be meant.

    A path may be given as text, text as a path, one value where several may stand, a mapping
    for pairs, and the first field's value for settings in settings (`model="mini"`).

    Raises:
        TypeError: a value of another type; the message names the setting.
    """

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            try:
                converted = _convert(value, item.type)
            except TypeError:
                raise TypeError(
                    f"{type(self).__name__}: {item.name} must be {_wanted(item.type)}, "
                    f"not {_shown(value)}"
                ) from None
            if converted is not value:
                object.__setattr__(self, item.name, converted)


def _convert(value: Any, kind: Any) -> Any:
    """Return the value as `kind` has it; TypeError where it cannot be meant."""
    if get_origin(kind) in (Union, types.UnionType):
        kinds = get_args(kind)
        if value is None and type(None) in kinds:
            return None
        kind = next(k for k in kinds if k is not type(None))
        kind = str if str in kinds and isinstance(value, str) else kind
        if len(kinds) == 2 and get_origin(kinds[1]) is tuple:  # one value, or several
            kind = kind if isinstance(value, str | os.PathLike) else kinds[1]
    if get_origin(kind) is tuple:
        return _tuple(value, get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Settings):
        if isinstance(value, kind):
            return value
        if not isinstance(value, str | os.PathLike):
            raise TypeError
        return kind(**{fields(kind)[0].name: value})  # type: ignore[arg-type]
    return _plain(value, kind)


def _tuple(value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if Ellipsis not in kinds:  # a pair
        if isinstance(value, str) or len(value) != len(kinds):
            raise TypeError
        return tuple(_convert(v, kind) for v, kind in zip(value, kinds, strict=True))
    if isinstance(value, str | os.PathLike):
        value = (value,)
    elif isinstance(value, Mapping):
        value = value.items()
    return tuple(_convert(v, kinds[0]) for v in value)


def _plain(value: Any, kind: Any) -> Any:
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError
        return value
    if isinstance(value, bool):
        raise TypeError
    if kind is int:
        return value if type(value) is int else operator.index(value)
    if kind is float:
        return value if type(value) is float else _float(value)
    if kind is Path:
        return value if isinstance(value, Path) else Path(_text(value))
    return value if type(value) is str else _text(value)


def _float(value: Any) -> float:
    if isinstance(value, str | bytes):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError
    return text


def _wanted(kind: Any) -> str:
    """Describe a type in words."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join("None" if k is type(None) else _wanted(k) for k in get_args(kind))
    if get_origin(kind) is tuple:
        return "several of text or a path" if get_args(kind)[0] is Path else "several of text"
    if isinstance(kind, type) and issubclass(kind, Settings):
        return f"a {kind.__name__} or text"
    names = {bool: "True or False", int: "a whole number", float: "a number"}
    return names.get(kind, "text or a path" if kind is Path else "text")


def _shown(value: Any) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r}"[:80]
