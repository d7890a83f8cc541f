"""One DuckDB table that many inputs share, night after night.

A tenth column says which input each row came from. Publishing an input again
replaces its own rows and no others, in one transaction: whatever is killed and
run again, each row of each input is there exactly once.
"""

from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from ..errors import BadDataError, CannotCreateError
from .append.column_changes import (
    CANNOT_HOLD,
    UNTYPED,
    ColumnFit,
    ColumnPolicy,
    UnfitColumnsError,
    fit_columns,
)
from .arrow import registered
from .base import Source, holds_the_whole
from .columns import RowSchema
from .duckdb_files import attached
from .duckdb_table import DuckDBSink, passing_failpoint
from .provenance import Provenance
from .result_columns import RESULT_SCHEMA
from .sql import quote_identifier

INPUT_COLUMN = "input_file"
"""VARCHAR, after the result columns: the input's path, or `path::table`."""


def input_name(path: str, table: str | None) -> str:
    """Return what `INPUT_COLUMN` holds for an input."""
    return path + (f"::{table}" if table else "")


class AppendingSink(DuckDBSink):
    """A table of a DuckDB file to which each input adds its rows, or replaces its own."""

    policy = ColumnPolicy()
    """What becomes of columns that differ from the table's; set by whoever opens it."""
    changes: Sequence[str] = ()
    """What became of them, in words, once they were compared."""

    def check_replaceable(
        self, source: Source, *, overwrite: bool, limit: int | None = None
    ) -> None:
        """Refuse a table not made by appending, or one with more rows of the input than `limit`."""
        made = self.provenance()
        if self.exists() and not (made and made.append):
            raise CannotCreateError(
                f"{self._named()} was not made with --append: name another with --output-table"
            )
        if limit is not None and not overwrite and self._rows_of(source) > limit:
            raise holds_the_whole(source, limit, self._named())

    def _rows_of(self, source: Source) -> int:
        """Return how many rows of an input the table holds."""
        if not self.exists():
            return 0
        with attached(self._connection, self._file) as (cursor, catalog):
            [(rows,)] = cursor.execute(
                f"SELECT count(*) FROM {self._place(cursor, catalog)} WHERE {INPUT_COLUMN} = ?",
                [input_name(source.path, source.table)],
            ).fetchall()
        return int(rows)

    def check_columns(self, schema: RowSchema) -> None:
        super().check_columns(schema)
        if any(name.casefold() == INPUT_COLUMN for name in schema.names):
            raise BadDataError(
                f"the input already has the column {INPUT_COLUMN!r}, which --append adds: rename it"
            )
        if self.exists():
            with attached(self._connection, self._file) as (cursor, catalog):
                cursor.register(
                    "labelled_rows", pa.RecordBatchReader.from_batches(schema.arrow, [])
                )
                self._fit(cursor, self._place(cursor, catalog), schema)

    def _fit(self, cursor: duckdb.DuckDBPyConnection, name: str, schema: RowSchema) -> ColumnFit:
        """Compare the table's own columns with those of `labelled_rows`."""
        there = _described(cursor, f"FROM {name}")
        given = _described(cursor, f"SELECT {schema.select_list()} FROM labelled_rows")
        added = {*RESULT_SCHEMA.names, INPUT_COLUMN}
        if lacking := sorted(name for name in added if name not in there):
            raise CannotCreateError(
                f"table {self.table!r} in {self.path} lacks the column {lacking[0]!r}, which "
                "appending fills: alter the table, or append to another with --output-table"
            )
        try:
            fit = fit_columns(
                {key: column for key, column in there.items() if key not in added},
                {key: column for key, column in given.items() if key not in added},
                self.policy,
            )
        except UnfitColumnsError as error:
            raise CannotCreateError(
                f"table {self.table!r} in {self.path} {error}, or append to another with "
                "--output-table"
            ) from None
        self.changes = fit.told()
        return fit

    def _give_types(self, cursor: duckdb.DuckDBPyConnection, name: str, schema: RowSchema) -> None:
        """Give columns that held nothing so far the type that the input has."""
        given = _described(cursor, f"SELECT {schema.select_list()} FROM labelled_rows")
        for key, (column, kind) in _described(cursor, f"FROM {name}").items():
            if kind == UNTYPED and given.get(key, ("", UNTYPED))[1] != UNTYPED:
                alter = f"ALTER TABLE {name} ALTER {quote_identifier(column)} TYPE {given[key][1]}"
                cursor.execute(alter)

    def _raise_as_expected(self, error: BaseException) -> None:
        if isinstance(error, duckdb.Error) and CANNOT_HOLD in str(error):
            said = str(error).partition(CANNOT_HOLD)[2].splitlines()[0].strip()
            raise BadDataError(
                f"table {self.table!r} in {self.path} cannot hold {said} exactly, and nothing "
                "was written: correct the input, or append to another with --output-table"
            ) from None
        super()._raise_as_expected(error)

    def _fill(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: str,
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        source = input_name(provenance.input or "", provenance.input_table)
        columns = f"{schema.select_list()}, $source::VARCHAR AS {INPUT_COLUMN}"
        given = {"source": source}
        cursor.register("labelled_rows", pa.RecordBatchReader.from_batches(schema.arrow, []))
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {name} AS SELECT {columns} FROM labelled_rows", given
        )
        fit = self._fit(cursor, name, schema)
        for alteration in fit.alterations(name):
            cursor.execute(alteration)
        self._give_types(cursor, name, schema)
        cursor.execute(f"DELETE FROM {name} WHERE {INPUT_COLUMN} = $source", given)
        cursor.unregister("labelled_rows")
        with registered(cursor, "labelled_rows", schema.arrow, passing_failpoint(batches)):
            rows = f"SELECT {fit.select_list()} FROM (SELECT {columns} FROM labelled_rows)"
            cursor.execute(f"INSERT INTO {name} BY NAME {rows}", given)
        self._sign(cursor, name, provenance.shared())


def _described(cursor: duckdb.DuckDBPyConnection, sql: str) -> dict[str, tuple[str, str]]:
    """Return the name and type of each column by its folded name."""
    rows = cursor.execute(f"DESCRIBE {sql}").fetchall()
    return {row[0].casefold(): (row[0], row[1]) for row in rows}
