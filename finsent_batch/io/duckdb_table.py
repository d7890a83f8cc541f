"""DuckDB tables as sources and sinks."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from ..errors import BadDataError, CannotCreateError, FinsentError, StorageError, first_line
from ..failpoints import failpoint
from .arrow import registered
from .base import BATCH_ROWS, Source, check_made_from, decodable
from .columns import RowSchema, check_column_names, check_duckdb_columns
from .duckdb_errors import disk_reason, is_storage_failure, storage_advice
from .duckdb_files import attached, copy_view, own_table, place_of, tables_of
from .provenance import PROVENANCE_KEY, Provenance
from .sql import own_name, quote_identifier, quote_literal
from .text.parsing import parse_json
from .whole.databases import written_database


class DuckDBSource:
    """A table or view of a DuckDB file, attached read-only only while it is being read.

    The file is free for its owner while the model works. `connection` is the
    store's: one DuckDB instance may hold several files, one file must not be
    held by several instances.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        file: Path,
        table: str,
        *,
        limit: int | None = None,
    ) -> None:
        self.path = str(file.resolve())
        self.table: str | None
        self._file = file
        self._connection = connection
        self._limit = limit
        self._place = file
        """The file that is read: a copy where `table` is a view."""
        with self._reading() as (cursor, catalog):
            kinds = tables_of(cursor, catalog)
        self.table = own_table(kinds, table, file)
        self._entry = kinds[self.table]
        if self._entry.kind == "VIEW":
            self._place = copy_view(connection, file, self._entry, limit=limit)
        with self._reading() as (cursor, catalog):
            select = self._select(catalog, None)
            arrow = cursor.sql(f"FROM ({select}) LIMIT 0").to_arrow_table().schema
            described = cursor.execute(f"DESCRIBE {select}").fetchall()
            self.schema = RowSchema(arrow, {row[0]: row[1] for row in described})
        check_column_names(self.schema.names, file)

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        with self._reading() as (cursor, catalog):
            reader = cursor.sql(self._select(catalog, columns)).to_arrow_reader(BATCH_ROWS)
            yield from reader

    def signature(self) -> object:
        """Count and hash the rows in their order: exact, where a file's times would not be."""
        with self._reading() as (cursor, catalog):
            inner = f"SELECT t, row_number() OVER () AS i FROM ({self._select(catalog, None)}) AS t"
            return cursor.execute(f"SELECT count(*), bit_xor(hash(i, t)) FROM ({inner})").fetchone()

    @contextmanager
    def _reading(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        with attached(self._connection, self._place) as (cursor, catalog):
            try:
                yield cursor, catalog
            except duckdb.Error as error:
                if is_storage_failure(error):
                    raise
                raise BadDataError(
                    f"table {self.table!r} of {self._file} cannot be read: {first_line(error)}"
                ) from None

    def _select(self, catalog: str, columns: list[str] | None) -> str:
        names = "*" if columns is None else ", ".join(quote_identifier(c) for c in columns)
        limit = "" if self._limit is None else f" LIMIT {self._limit}"
        return f"SELECT {names} FROM {self._entry.sql(catalog)}{limit}"


class DuckDBSink:
    """A table of a DuckDB file, made in one transaction; its comment holds the provenance."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        file: Path,
        table: str,
        *,
        new_schema: str | None = None,
    ) -> None:
        """`new_schema` is made in the file if it is not there; a `table` there keeps its name."""
        self._new_schema = new_schema
        self.path = os.path.realpath(file)
        self._file = Path(self.path)
        self._connection = connection
        self.table: str | None = self._own_name(table) or table

    def _own_name(self, table: str) -> str | None:
        # A file that cannot be opened now is waited for, or told of, where it is needed.
        with suppress(FinsentError):
            if self._file.is_file():
                with attached(self._connection, self._file) as (cursor, catalog):
                    return own_name(tables_of(cursor, catalog), table)
        return None

    def exists(self) -> bool:
        return self._comment() is not None

    def provenance(self) -> Provenance | None:
        try:
            comment = parse_json(self._comment() or "")
        except ValueError:
            return None
        return Provenance.from_json(
            comment.get(PROVENANCE_KEY) if isinstance(comment, dict) else None
        )

    def check_replaceable(
        self, source: Source, *, overwrite: bool, limit: int | None = None
    ) -> None:
        if not overwrite and self.exists():
            check_made_from(self.provenance(), source, limit, self._named(), "--output-table")

    def _named(self) -> str:
        return f"table {self.table!r} in {self.path}"

    def _comment(self) -> str | None:
        if not self._file.exists():
            return None
        with attached(self._connection, self._file) as (cursor, catalog):
            entry = place_of(cursor, catalog, self.table or "")
            row = cursor.execute(
                "SELECT coalesce(comment, '') FROM duckdb_tables() WHERE database_name = $1 AND "
                "lower(table_name) = lower($2) AND lower(schema_name) = lower($3) UNION ALL "
                "SELECT '' FROM duckdb_views() WHERE database_name = $1 AND "
                "lower(view_name) = lower($2) AND lower(schema_name) = lower($3)",
                [catalog, entry.name, entry.schema],
            ).fetchone()
        return row[0] if row else None

    def _place(self, cursor: duckdb.DuckDBPyConnection, catalog: str) -> str:
        return place_of(cursor, catalog, self.table or "").sql(catalog)

    def check_columns(self, schema: RowSchema) -> None:
        if "" in schema.names:
            raise CannotCreateError(
                f"{self._file}: a DuckDB table cannot have a column without a name, as one of "
                "the input has: name it, or write to .parquet or .csv"
            )
        check_duckdb_columns(schema.arrow, self.path)

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
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        whole = decodable(batches, self.path)
        try:
            with (
                closing(whole),
                written_database(self._file) as file,
                attached(self._connection, file, write=True) as (cursor, name),
            ):
                cursor.begin()
                try:
                    if self._new_schema:
                        named = quote_identifier(self._new_schema)
                        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {name}.{named}")
                    place = self._place(cursor, name)
                    self._fill(cursor, place, schema, whole, provenance)
                    failpoint("before_table_commit")
                except BaseException:
                    cursor.rollback()
                    raise
                cursor.commit()
            failpoint("table_committed")
        except BaseException as error:
            self._raise_as_expected(error)
            raise

    def _raise_as_expected(self, error: BaseException) -> None:
        if isinstance(error, duckdb.CatalogException):
            raise CannotCreateError(
                f"cannot create table {self.table!r} in {self._file}: {first_line(error)}"
            ) from None
        if isinstance(error, duckdb.IOException) or is_storage_failure(error):
            raise StorageError(
                f"writing {self._file} failed ({disk_reason(error)}): its table is the earlier "
                f"one or the new one, whole, and scores are kept; {storage_advice(error)} and "
                "run again"
            ) from None

    def _fill(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: str,
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        columns = schema.select_list()
        cursor.register("labelled_rows", pa.RecordBatchReader.from_batches(schema.arrow, []))
        cursor.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {columns} FROM labelled_rows")
        cursor.unregister("labelled_rows")
        # One statement: DuckDB writes full row groups to the file as they come, whereas the
        # rows of many small ones stay in memory until the commit.
        with registered(cursor, "labelled_rows", schema.arrow, passing_failpoint(batches)):
            cursor.execute(f"INSERT INTO {name} FROM labelled_rows")
        self._sign(cursor, name, provenance)

    def _sign(self, cursor: duckdb.DuckDBPyConnection, name: str, provenance: Provenance) -> None:
        comment = quote_literal(json.dumps({PROVENANCE_KEY: provenance.to_json()}))
        cursor.execute(f"COMMENT ON TABLE {name} IS {comment}")


def passing_failpoint(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass on the batches, and a failpoint after each."""
    for batch in batches:
        yield batch
        failpoint("in_table")
