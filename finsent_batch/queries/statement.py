"""A statement of the user's own: that it is one that reads, and the values it is given."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import duckdb

from ..errors import BadDataError, MissingInputError, UsageError
from ..io.sql import quote_identifier, quote_literal
from .catalog import nearest

READS_ONLY: Final = "--sql only reads, and {} would not: write one SELECT, or use your own database"
_READING: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI)
"""DuckDB takes FROM, VALUES, DESCRIBE, SUMMARIZE and SHOW for SELECT; a PIVOT is several."""
_COMMENTS: Final = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_EXPLAIN: Final = re.compile(
    rf"{_COMMENTS}EXPLAIN\b{_COMMENTS}(?:ANALYZE\b)?{_COMMENTS}(?:\([^()]*\))?",
    re.IGNORECASE | re.DOTALL,
)
_SHOW_TABLES: Final = re.compile(
    rf"{_COMMENTS}SHOW{_COMMENTS}TABLES{_COMMENTS};?{_COMMENTS}(?:--.*)?", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement that reads."""

    text: str
    places: frozenset[str]
    """The names of its `$parameters`."""
    is_explain: bool = False

    def reads(self, relation: str) -> bool:
        """Whether it names a table or view."""
        return re.search(rf"\b{relation}\b", self.text, re.IGNORECASE) is not None

    @property
    def _has_variables(self) -> bool:
        return re.search(r"\bgetvariable\b", self.text, re.IGNORECASE) is not None

    def check_parameters(self, given: Mapping[str, object]) -> None:
        """Refuse a value that the statement has no place for, and a place without a value.

        Raises:
            UsageError: naming it.
        """
        for name in sorted(self.places - set(given)):
            raise UsageError(f"--sql has ${name}: give it a value with --param {name}=…")
        for name in given:
            if name not in self.places and not self._has_variables:
                places = [f"${place}" for place in sorted(self.places)]
                known = nearest(f"${name}", places) if places else "it has none"
                raise UsageError(f"--param {name}: --sql has no ${name}; {known}")


def statement_of(given: str, standard_input: TextIO) -> str:
    """Return the SQL that a user gives as such, as a file, or as `-` on standard input.

    Raises:
        MissingInputError: there is no such .sql file.
        BadDataError: the file is no text.
    """
    if given == "-":
        return standard_input.read()
    try:
        is_file = Path(given).is_file()
    except OSError:  # too long for a name
        is_file = False
    if not is_file:
        if re.fullmatch(r"\S+\.sql", given):
            raise MissingInputError(f"--sql {given} does not exist: check the path")
        return given
    try:
        return Path(given).read_text("utf-8-sig")
    except UnicodeError:
        raise BadDataError(
            f"--sql {given} is not UTF-8 text: name a file with one SELECT"
        ) from None


def read_statement(sql: str) -> Statement:
    """Take SQL for one statement that only reads; DuckDB says what kind it is.

    Raises:
        UsageError: it is none, several, or does something else.
    """
    found = _statements(sql)
    if len(found) != 1:
        raise UsageError(f"--sql takes one statement, not {len(found)}")
    [statement] = found
    explained = statement.type is duckdb.StatementType.EXPLAIN
    if explained:
        # What EXPLAIN ANALYZE explains is run.
        inner = _statements(_EXPLAIN.sub("", statement.query, count=1))
        kinds = [part.type for part in inner] or [statement.type]
    else:
        kinds = [statement.type]
    for kind in kinds:
        if kind not in _READING:
            raise UsageError(READS_ONLY.format(kind.name.replace("_", " ")))
    text = statement.query
    if _SHOW_TABLES.fullmatch(text):
        # A session's own views stand before those of the store, and would be listed twice.
        text = "SELECT DISTINCT name FROM (SHOW TABLES) ORDER BY name"
    places = frozenset(statement.named_parameters)
    return Statement(text=text, places=places, is_explain=explained)


def _statements(sql: str) -> list[duckdb.Statement]:
    try:
        found: list[duckdb.Statement] = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(f"--sql: {one_line(error)}") from None
    return found


def one_line(error: duckdb.Error) -> str:
    """Return what DuckDB says of a statement, without the line that points into it."""
    said = re.split(r"\n+LINE \d+:", str(error))[0]
    return " ".join(said.split())[:300]


def typed(value: str) -> int | float | str:
    """Return a value of the command line as the number that it is, else as text.

    DuckDB makes text a date or a time where it is compared with one.
    """
    if re.fullmatch(r"-?(0|[1-9]\d{0,17})", value):
        return int(value)
    if re.fullmatch(r"-?(0|[1-9]\d*)\.\d+([eE][+-]?\d+)?", value):
        return float(value)
    return value


def set_variables(connection: duckdb.DuckDBPyConnection, values: Mapping[str, object]) -> None:
    """Let SQL have the values by `getvariable`."""
    for name, value in values.items():
        literal = str(value) if isinstance(value, int | float) else quote_literal(str(value))
        connection.execute(f"SET VARIABLE {quote_identifier(name)} = {literal}")
