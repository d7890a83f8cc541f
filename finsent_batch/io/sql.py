"""Quote names and values for SQL text, and read the packaged SQL files."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Final

from ..errors import UsageError


def quote_identifier(name: str) -> str:
    """Return a name of any characters as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


_SMALL: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


def folded(name: str | None) -> str | None:
    """Return a name as DuckDB compares it: A to Z are small letters, others stay as they are."""
    return None if name is None else name.translate(_SMALL)


def own_name(names: Iterable[str], name: str) -> str | None:
    """Return how one of `names` writes a name, in whatever case it is given; None if none is."""
    alike = [own for own in names if folded(own) == folded(name)]
    return name if name in alike else next(iter(alike), None)


def quote_literal(text: str) -> str:
    """Return text as a quoted SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def check_utf8(path: str) -> None:
    """Refuse a path that DuckDB cannot be told.

    Raises:
        UsageError: it holds bytes that are not UTF-8.
    """
    if any(0xD800 <= ord(c) < 0xE000 for c in path):
        raise UsageError(
            f"DuckDB cannot use {path}, which holds bytes that are not UTF-8: rename the file or "
            "its folder"
        )


def database_literal(file: Path) -> str:
    """Return a DuckDB file's path as what ATTACH takes.

    Raises:
        UsageError: DuckDB would take it for another file.
    """
    path = str(file)
    # Behind a question mark DuckDB sees options, and a backslash divides folders for it.
    strange = next((mark for mark in "?\\" if mark in path), "")
    check_utf8(path)
    if strange:
        raise UsageError(
            f"DuckDB cannot use {path}, which holds {strange}: rename the file or its folder"
        )
    return quote_literal(path)


def read_sql(name: str) -> str:
    """Return the text of a packaged SQL file, such as `store/schema`: named without its suffix."""
    return resources.files("finsent_batch.sql").joinpath(f"{name}.sql").read_text("utf-8")


def sql_names(folder: str = "") -> list[str]:
    """Return the names of the SQL files in a folder of the packaged SQL, sorted, no suffixes."""
    entries = resources.files("finsent_batch.sql").joinpath(folder).iterdir()
    return sorted(e.name.removesuffix(".sql") for e in entries if e.name.endswith(".sql"))
