"""Reading a model's JSON files."""

from pathlib import Path
from typing import Any

from ..errors import BadDataError, MissingInputError
from ..io.text.parsing import parse_json
from ..io.whole.system_errors import unreadable


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON file's object.

    Raises:
        MissingInputError: it is not there, or may not be read.
        BadDataError: it cannot be read, or is no object.
    """
    try:
        content = parse_json(file.read_text("utf-8"))
    except FileNotFoundError:
        raise MissingInputError(
            f"{file} is not there: name a directory that holds a model, or restore it"
        ) from None
    except PermissionError:
        raise unreadable(file) from None
    except (ValueError, OSError) as error:
        raise BadDataError(f"{file} cannot be read as JSON ({error}): restore it") from None
    if not isinstance(content, dict):
        raise BadDataError(f"{file} is not a JSON object: restore it")
    return content
