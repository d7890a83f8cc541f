"""Messages for those who call from Python: settings by their names, not as options.

Messages of the library are written for the command line, which most people use:
`--text-column`, `-o`. At the border of the Python API they are told once, here, in the words of
Python: `text_column`, `output`. Options in a whole command (`finsent-batch train --preset mini`)
stay: that is what one would type.
"""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final, TypeVar

from . import config, train_config
from .errors import FinsentError, ParameterError
from .settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

_OTHER_NAMES: Final = {
    "-o": "output",
    "--from": "published",
    "--gate": "gates",
    "--sql": "query_sql",
    "--param": "parameter",
    "--no-store-text": "store_text=False",
}
"""Options whose setting has another name."""
_SWITCHES: Final = {
    item.name
    for module in (config, train_config)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Settings) and kind is not Settings
    for item in fields(kind)  # type: ignore[arg-type]
    if item.type is bool
}
_COMMAND_OR_OPTION: Final = re.compile(
    r"(finsent-batch(?: [a-z]+)+(?: (?:--[a-z0-9-]+|-o)(?: [\w./-]+)?)+)"
    r"|(?<![\w`-])(--[a-z][a-z-]*[a-z]|-o)\b"
)


def in_python(message: str) -> str:
    """Return a message with the options in it as the settings of Python."""
    return _COMMAND_OR_OPTION.sub(lambda found: found[1] or _setting(found[2]), message)


def _setting(option: str) -> str:
    name = option.lstrip("-").replace("-", "_")
    return _OTHER_NAMES.get(option) or (f"{name}=True" if name in _SWITCHES else name)


def python_face(function: F) -> F:
    """Return the function as the Python API has it.

    A first argument of another type than its settings is one TypeError; what a FinsentError
    says names settings.
    """
    name, kind = _settings_argument(function)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if kind is not None:
            given = arguments[0] if arguments else options.get(name, _ABSENT)
            if given is not _ABSENT and not isinstance(given, kind):
                raise TypeError(
                    f"{function.__name__} takes a {kind.__name__}, not {type(given).__name__}: "
                    f"{function.__name__}({kind.__name__}(…))"
                )
        try:
            return function(*arguments, **options)
        except FinsentError as error:
            if error.args:
                error.args = (in_python(str(error.args[0])), *error.args[1:])
            if isinstance(error, ParameterError):
                error.header = in_python(error.header)
            raise

    return call  # type: ignore[return-value]


_ABSENT: Final = object()


def _settings_argument(function: Callable[..., Any]) -> tuple[str, type | None]:
    """Return the name and type of a function's one argument of settings, if it begins with one."""
    for parameter in inspect.signature(function).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            return parameter.name, kind
        break
    return "", None
