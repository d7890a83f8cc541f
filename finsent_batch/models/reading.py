"""Reading a model's JSON files."""

from pathlib import Path
from typing import Any

from ..errors import BadDataError
from ..io.text.parsing import parse_json


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON file's object.

    Raises:
        BadDataError: it cannot be read, or is no object.
    """
    try:
        content = parse_json(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise BadDataError(f"{file} cannot be read as JSON ({error}): restore it") from None
    if not isinstance(content, dict):
        raise BadDataError(f"{file} is not a JSON object: restore it")
    return content
