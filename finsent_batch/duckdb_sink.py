"""A table of a DuckDB file as output: made in one transaction, its mark in its comment."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa

from .atomic import create_database, disk_reason, is_disk_full, remove_database
from .duckdb_files import attached
from .errors import CannotCreateError, StorageError, first_line
from .failpoints import failpoint
from .marks import MARK_KEY, Mark
from .sinks import check_duckdb_columns, decodable
from .sql_text import quote_identifier, quote_literal
from .streams import registered


class DuckDBSink:
    """A table of a DuckDB file, made in one transaction; its comment bears the mark."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, file: Path, table: str) -> None:
        self.path = os.path.realpath(file)
        self.table: str | None = table
        self._file = Path(self.path)
        self._name = quote_identifier(table)
        self._connection = connection

    def exists(self) -> bool:
        return self._comment() is not None

    def mark(self) -> Mark | None:
        try:
            mark = json.loads(self._comment() or "")
        except ValueError:
            return None
        return mark.get(MARK_KEY) if isinstance(mark, dict) else None

    def _comment(self) -> str | None:
        if not self._file.exists():
            return None
        with attached(self._connection, self._file) as (cursor, catalog):
            row = cursor.execute(
                "SELECT coalesce(comment, '') FROM duckdb_tables() WHERE database_name = $1 AND "
                "lower(table_name) = lower($2) AND schema_name = 'main' UNION ALL "
                "SELECT '' FROM duckdb_views() WHERE database_name = $1 AND "
                "lower(view_name) = lower($2) AND schema_name = 'main'",
                [catalog, self.table],
            ).fetchone()
        return row[0] if row else None

    def check_columns(self, schema: pa.Schema, types: dict[str, str]) -> None:
        if "" in schema.names:
            raise CannotCreateError(
                f"{self._file}: a DuckDB table cannot have a column without a name, as one of "
                "the input has: name it, or write to .parquet or .csv"
            )
        check_duckdb_columns(schema, self.path)

    def check_writable(self) -> None:
        if self._file.is_dir():
            raise CannotCreateError(f"{self._file} is a folder: name a file with -o")
        target = self._file if self._file.exists() else self._file.parent
        usable = target.is_dir() or target == self._file
        if not usable or not os.access(target, os.W_OK):
            raise CannotCreateError(f"cannot write {target}: check the path and its permissions")
        if target == self._file:
            with attached(self._connection, self._file, write=True):
                pass  # another process that only reads it would keep it from being written

    def write(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        mark: Mark,
        types: dict[str, str],
    ) -> None:
        made = create_database(self._file)
        ours = False
        whole = decodable(batches, self.path)
        try:
            with (
                attached(self._connection, self._file, write=True, create=True) as (cursor, name),
                closing(whole),
            ):
                ours = made
                cursor.begin()
                try:
                    self._fill(cursor, f"{name}.main.{self._name}", schema, whole, mark, types)
                    failpoint("before_table_commit")
                except BaseException:
                    cursor.rollback()
                    raise
                cursor.commit()
                failpoint("table_committed")
        except BaseException as error:
            if ours:
                remove_database(self._file)
            self._raise_as_expected(error)
            raise

    def _raise_as_expected(self, error: BaseException) -> None:
        if isinstance(error, duckdb.CatalogException):
            raise CannotCreateError(
                f"cannot create table {self.table!r} in {self._file}: {first_line(error)}"
            ) from None
        if isinstance(error, duckdb.IOException) or is_disk_full(error):
            raise StorageError(
                f"writing {self._file} failed ({disk_reason(error)}): its table is the earlier "
                "one or the new one, whole, and scores are kept; make room and run again"
            ) from None

    def _fill(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: str,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        mark: Mark,
        types: dict[str, str],
    ) -> None:
        columns = select_list(types)
        cursor.register("labelled_rows", pa.RecordBatchReader.from_batches(schema, []))
        cursor.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {columns} FROM labelled_rows")
        cursor.unregister("labelled_rows")
        # One statement: DuckDB writes full row groups to the file as they come, whereas the
        # rows of many small ones stay in memory until the commit.
        with registered(cursor, "labelled_rows", schema, passing_failpoint(batches)):
            cursor.execute(f"INSERT INTO {name} FROM labelled_rows")
        self._sign(cursor, name, mark)

    def _sign(self, cursor: duckdb.DuckDBPyConnection, name: str, mark: Mark) -> None:
        comment = quote_literal(json.dumps({MARK_KEY: mark}))
        cursor.execute(f"COMMENT ON TABLE {name} IS {comment}")


def passing_failpoint(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass on the batches, and a failpoint after each."""
    for batch in batches:
        yield batch
        failpoint("in_table")


def select_list(types: dict[str, str]) -> str:
    """Return what to select from labelled rows that came through Arrow.

    Arrow has no ENUM: it comes as text, here and within lists and structs.
    """
    enums = [(quote_identifier(c), t) for c, t in types.items() if "ENUM(" in t]
    casts = ", ".join(f"CAST({column} AS {kind}) AS {column}" for column, kind in enums)
    return f"* REPLACE ({casts})" if casts else "*"
