"""Quote names and values for SQL text, and read the packaged SQL files."""

from importlib import resources


def quote_identifier(name: str) -> str:
    """Return a name of any characters as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return text as a quoted SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def read_sql(name: str) -> str:
    """Return the text of one of the packaged SQL files, named without its suffix."""
    return resources.files("finsent_batch.sql").joinpath(f"{name}.sql").read_text("utf-8")
