"""Translate what libraries raise while they load a model's files into one line."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import (
    BadDataError,
    ConfigError,
    FinsentError,
    MissingInputError,
    UnavailableError,
    first_line,
)

logger = logging.getLogger(__name__)

_CODE = "custom code which must be executed"


@contextmanager
def loading(
    what: str, remedy: str = "get its files again, or name another model"
) -> Iterator[None]:
    """Raise what ends the loading of `what` as an expected failure; `-vv` shows its traceback.

    transformers, peft and tokenizers raise whatever a damaged or foreign file makes them
    stumble over, so that no list of exceptions would be complete.

    Raises:
        ConfigError: the files are wrong, or of a kind that the libraries here do not know.
        MissingInputError: one is not there.
        UnavailableError: memory does not hold them.
    """
    try:
        yield
    except (FinsentError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:
        raise UnavailableError(f"{what} does not fit into this machine's memory") from None
    except BaseException as error:
        # A panic in one of the Rust libraries is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if type(error).__name__ in ("OutOfMemoryError", "StopTraining"):
            raise
        logger.debug("while loading %s", what, exc_info=True)
        if _CODE in str(error):
            raise ConfigError(
                f"{what} needs code of its own (auto_map in config.json), which is never run: "
                "name a model that transformers knows"
            ) from None
        if type(error).__name__ == "SafetensorError":
            raise BadDataError(
                f"{what}: a weight file is not a complete safetensors file "
                f"({first_line(error)}): get it again"
            ) from None
        kind = MissingInputError if isinstance(error, OSError) else ConfigError
        raise kind(f"{what} cannot be loaded ({_reason(error)}): {remedy}") from None


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Some say what it is about first, and what it is in the line after.
    about = len(lines) > 1 and lines[0].endswith(":")
    reason = f"{lines[0]} {lines[1]}"[:300] if about else first_line(error)
    name = type(error).__name__
    reason = reason.rstrip(",:. ")
    return reason if " " in reason else f"{name}: {reason}"
