"""One DuckDB table that many inputs share, night after night.

A tenth column says which input each row came from. Publishing an input again
replaces its own rows and no others, in one transaction: whatever is killed and
run again, each row of each input is there exactly once.
"""

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from ..errors import BadDataError, CannotCreateError
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
# What DuckDB calls the type of a column that has never held a value.
_UNTYPED = '"NULL"'


def input_name(path: str, table: str | None) -> str:
    """Return what `INPUT_COLUMN` holds for an input."""
    return path + (f"::{table}" if table else "")


class AppendingSink(DuckDBSink):
    """A table of a DuckDB file to which each input adds its rows, or replaces its own."""

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
                self._check_fit(cursor, self._place(cursor, catalog), schema)

    def _check_fit(self, cursor: duckdb.DuckDBPyConnection, name: str, schema: RowSchema) -> None:
        """Compare the table's own columns with those of `labelled_rows`."""
        there = _described(cursor, f"FROM {name}")
        given = _described(cursor, f"SELECT {schema.select_list()} FROM labelled_rows")
        added = {*RESULT_SCHEMA.names, INPUT_COLUMN}
        if lacking := sorted(name for name in added if name not in there):
            raise self._unfit(f"lacks the column {lacking[0]!r}, which appending fills")
        for column in (c for c in {**there, **given} if c not in added):
            if column not in given:
                raise self._unfit(f"has the column {column!r}, the input has not")
            if column not in there:
                raise self._unfit(f"has no column {column!r}, the input has")
            if given[column] != there[column] and _UNTYPED not in (given[column], there[column]):
                raise self._unfit(
                    f"holds {there[column]} in the column {column!r}, the input {given[column]}"
                )

    def _give_types(self, cursor: duckdb.DuckDBPyConnection, name: str, schema: RowSchema) -> None:
        """Give columns that held nothing so far the type that the input has."""
        given = _described(cursor, f"SELECT {schema.select_list()} FROM labelled_rows")
        for column, kind in _described(cursor, f"FROM {name}").items():
            if kind == _UNTYPED and given[column] != _UNTYPED:
                alter = f"ALTER TABLE {name} ALTER {quote_identifier(column)} TYPE {given[column]}"
                cursor.execute(alter)

    def _unfit(self, what: str) -> CannotCreateError:
        return CannotCreateError(
            f"table {self.table!r} in {self.path} {what}: alter the table, "
            "or append to another with --output-table"
        )

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
        self._check_fit(cursor, name, schema)
        self._give_types(cursor, name, schema)
        cursor.execute(f"DELETE FROM {name} WHERE {INPUT_COLUMN} = $source", given)
        cursor.unregister("labelled_rows")
        with registered(cursor, "labelled_rows", schema.arrow, passing_failpoint(batches)):
            cursor.execute(f"INSERT INTO {name} BY NAME SELECT {columns} FROM labelled_rows", given)
        self._sign(cursor, name, provenance.shared())


def _described(cursor: duckdb.DuckDBPyConnection, sql: str) -> dict[str, str]:
    rows = cursor.execute(f"DESCRIBE {sql}").fetchall()
    return {row[0].casefold(): row[1] for row in rows}
