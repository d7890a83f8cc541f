"""The rows that a query gave, kept in a table of its session, and written by DuckDB's writers.

DuckDB itself gives columns of one name different ones, and writes whatever types it has; so
all that it answers can be shown and written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from ..errors import StorageError
from ..io.duckdb_errors import is_storage_failure, storage_problem
from ..io.sql import quote_identifier, quote_literal
from ..store.connection import PLAN_CATALOG
from .values import (
    Column,
    Expression,
    as_is,
    exact,
    for_arrow,
    for_json,
    for_parquet,
    for_reading,
    for_terminal,
    is_wide,
)

_TABLE: Final = f"{PLAN_CATALOG}.main.result"
_WRITERS: Final[dict[str, tuple[str, Expression]]] = {
    "csv": ("FORMAT csv, HEADER true", as_is),
    "json": ("FORMAT json, ARRAY true", for_json),
    "jsonl": ("FORMAT json", for_json),
    "parquet": ("FORMAT parquet", for_parquet),
}
_CLOSED_PIPE: Final = "Broken pipe"


@dataclass(frozen=True, kw_only=True)
class Result:
    """All rows of a query, while its session is open."""

    connection: duckdb.DuckDBPyConnection
    columns: tuple[Column, ...]
    rows: int
    is_plan: bool = False
    """Whether it is what EXPLAIN says."""

    @property
    def names(self) -> list[str]:
        """The columns' names, each another one."""
        return [name for name, _ in self.columns]

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table; what Arrow or polars have no type for is text."""
        self.connection.execute("SET GLOBAL arrow_lossless_conversion = false")
        return self.connection.sql(self._select(for_arrow, wide=True)).to_arrow_table()

    def values(self, limit: int | None = None, *, rounded: bool) -> list[tuple[Any, ...]]:
        """Return the first rows for people to read: numbers, true or false, and text.

        `rounded` leaves out fractions of seconds.
        """
        expression = for_terminal if rounded else for_reading
        rows: list[tuple[Any, ...]] = self.connection.execute(
            self._select(expression, limit)
        ).fetchall()
        return rows

    def write(
        self, place: Path, format_: str, *, limit: int | None = None, compression: str | None = None
    ) -> None:
        """Write the rows to a file or pipe as `csv`, `json`, `jsonl` or `parquet`.

        The session must have been opened with `writes_to=place`.

        Raises:
            BrokenPipeError: whoever read them has had enough.
            StorageError: the disk is full or failed.
        """
        options, expression = _WRITERS[format_]
        if compression is not None:
            options += f", COMPRESSION {compression}"
        select = self._select(expression, limit, wide=format_ == "parquet")
        try:
            self.connection.execute(
                f"COPY ({select}) TO {quote_literal(str(place))} ({options}, USE_TMP_FILE false)"
            )
        except duckdb.Error as error:
            if _CLOSED_PIPE in str(error):
                raise BrokenPipeError from None
            if is_storage_failure(error):
                raise StorageError(f"{storage_problem(error)} and run again") from None
            raise

    def _select(
        self, expression: Expression, limit: int | None = None, *, wide: bool = False
    ) -> str:
        parts = []
        for column in self.columns:
            sql = exact(column, expression, self._largest(column)) if wide else expression(column)
            parts.append(f"{sql} AS {quote_identifier(column[0])}")
        end = "" if limit is None else f" LIMIT {limit}"
        return f"SELECT {', '.join(parts)} FROM {_TABLE}{end}"

    def _largest(self, column: Column) -> int | None:
        """Return the largest magnitude in a column of 128 bits; None of others and of no rows."""
        if not is_wide(column):
            return None
        name = quote_identifier(column[0])
        [(least, most)] = self.connection.execute(
            f"SELECT min({name}), max({name}) FROM {_TABLE}"
        ).fetchall()
        return None if least is None else max(abs(least), abs(most))


def keep_result(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object]
) -> Result:
    """Run a statement and keep its rows; DuckDB takes none here but one that selects.

    Raises:
        duckdb.Error: it cannot be run.
    """
    connection.execute(f"CREATE OR REPLACE TABLE {_TABLE} AS\n{sql}", dict(parameters))
    return _result(connection)


def keep_plan(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object]
) -> Result:
    """Run an EXPLAIN and keep what it says."""
    lines = connection.execute(sql, dict(parameters)).fetchall()
    connection.execute(
        f"CREATE OR REPLACE TABLE {_TABLE} (explain_key VARCHAR, explain_value VARCHAR)"
    )
    connection.executemany(f"INSERT INTO {_TABLE} VALUES (?, ?)", lines)
    return _result(connection, is_plan=True)


def _result(connection: duckdb.DuckDBPyConnection, *, is_plan: bool = False) -> Result:
    relation = connection.sql(f"FROM {_TABLE}")
    columns = tuple(zip(relation.columns, relation.types, strict=True))
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {_TABLE}").fetchall()
    return Result(connection=connection, columns=columns, rows=rows, is_plan=is_plan)
