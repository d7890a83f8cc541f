"""Where headlines come from: Parquet files, DuckDB tables and Arrow tables in memory.

A source can be read twice, in the same order, a batch at a time: once for
planning (the text column alone) and once for publishing (every column, types
untouched). CSV is staged to Parquet first (`csv_source.py`), so that it is
parsed, decoded and checked in one place.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from .atomic import is_disk_full
from .duckdb_files import attached, copy_view, tables_of
from .errors import BadDataError, MissingInputError, StorageError, TryAgainError, first_line
from .source_columns import check_column_names
from .sql_text import quote_identifier

BATCH_ROWS = 65_536
# What reading a damaged Parquet file can raise; names that are not UTF-8 give the last.
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


class Source(Protocol):
    """Rows with a headline each, readable more than once in the same order."""

    path: str
    """Absolute path of the file, the first half of the input's identity."""
    table: str | None
    """The table inside it, the second half; None for files that are one table."""
    schema: pa.Schema
    types: dict[str, str]
    """DuckDB's own name of each column's type, for a table of its; else empty."""

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, every column or the named ones."""
        ...

    def signature(self) -> object:
        """Return a value that changes when the rows may have changed."""
        ...


class ParquetSource:
    """One Parquet file; `identity` names the user's file where this one was staged from it."""

    def __init__(
        self, file: Path, *, identity: str | None = None, limit: int | None = None
    ) -> None:
        named = identity or str(file)
        self.path = named if "://" in named else str(Path(named).resolve())
        self.table: str | None = None
        self.types: dict[str, str] = {}
        self._file = file
        self._limit = limit
        try:
            with pq.ParquetFile(file) as parquet:
                self.schema: pa.Schema = parquet.schema_arrow
            names = self.schema.names
        except FileNotFoundError:
            raise MissingInputError(f"{file} does not exist: check the path") from None
        except _DAMAGE as error:
            raise _unreadable(file, error) from None
        check_column_names(names, file)

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(self._file, page_checksum_verification=True) as parquet:
                yield from _first_rows(
                    parquet.iter_batches(batch_size=BATCH_ROWS, columns=columns), self._limit
                )
        except _DAMAGE as error:
            raise _unreadable(self._file, error) from None

    def signature(self) -> object:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            raise TryAgainError(f"{self._file} vanished while it was read: run again") from None
        return status.st_ino, status.st_size, status.st_mtime_ns


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
        self.table: str | None = table
        self._file = file
        self._connection = connection
        self._limit = limit
        self._place = file
        """The file that is read: a copy where `table` is a view."""
        with self._reading() as (cursor, catalog):
            kinds = tables_of(cursor, catalog)
            if table not in kinds:
                raise MissingInputError(
                    f"{file} has no table {table!r}; it has: {', '.join(kinds) or 'none'}"
                )
        if kinds[table] == "VIEW":
            self._place = copy_view(connection, file, table, limit=limit)
        with self._reading() as (cursor, catalog):
            select = self._select(catalog, None)
            self.schema = cursor.sql(f"FROM ({select}) LIMIT 0").to_arrow_table().schema
            described = cursor.execute(f"DESCRIBE {select}").fetchall()
            self.types: dict[str, str] = {row[0]: row[1] for row in described}
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
                if is_disk_full(error):
                    raise
                raise BadDataError(
                    f"table {self.table!r} of {self._file} cannot be read: {first_line(error)}"
                ) from None

    def _select(self, catalog: str, columns: list[str] | None) -> str:
        names = "*" if columns is None else ", ".join(quote_identifier(c) for c in columns)
        limit = "" if self._limit is None else f" LIMIT {self._limit}"
        relation = f"{catalog}.main.{quote_identifier(self.table or '')}"
        return f"SELECT {names} FROM {relation}{limit}"


class ArrowSource:
    """An Arrow table in memory, for the Python API."""

    def __init__(self, table: pa.Table, name: str = "memory") -> None:
        self.path = name
        self.table: str | None = None
        self.types: dict[str, str] = {}
        self.schema = table.schema
        self._table = table
        check_column_names(self.schema.names, name)

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        table = self._table if columns is None else self._table.select(columns)
        yield from table.to_batches(max_chunksize=BATCH_ROWS)

    def signature(self) -> object:
        return self._table.num_rows


def _unreadable(file: Path, error: Exception) -> Exception:
    if isinstance(error, IsADirectoryError | PermissionError):
        return StorageError(f"cannot read {file}: {first_line(error)}")
    return BadDataError(
        f"{file} is not a readable Parquet file (empty, truncated or corrupt): "
        f"get it again ({first_line(error)})"
    )


def _first_rows(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    left = limit
    for batch in batches:
        if left is None:
            yield batch
        else:
            yield batch.slice(0, left)
            left -= min(left, batch.num_rows)
            if left == 0:
                return


def text_batches(source: Source, column: str) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Yield (text, undecodable) for each batch: string and bool arrays of equal length.

    Parquet does not check that its strings are UTF-8; a value that is not comes
    out as null with `undecodable` true.
    """
    for batch in source.batches([column]):
        array = batch.column(0)
        text = array.cast(pa.large_string()) if array.type != pa.large_string() else array
        try:
            text.validate(full=True)
            yield text, pa.repeat(pa.scalar(False), len(text))
        except pa.ArrowInvalid:
            yield _decode_each(text)


def _decode_each(text: pa.Array) -> tuple[pa.Array, pa.Array]:
    values: list[str | None] = []
    undecodable: list[bool] = []
    for raw in text.cast(pa.large_binary()).to_pylist():
        try:
            values.append(None if raw is None else raw.decode("utf-8"))
            undecodable.append(False)
        except UnicodeDecodeError:
            values.append(None)
            undecodable.append(True)
    return pa.array(values, pa.large_string()), pa.array(undecodable, pa.bool_())
