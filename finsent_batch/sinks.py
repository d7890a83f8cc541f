"""Where labelled rows go: Parquet, CSV or a DuckDB table, whole or not at all.

A file is written beside its final name, forced to disk and renamed. A table is
made in one transaction. Both carry a mark that says which input they were made
from, so that the same command may replace its own output and nobody else's.
"""

import errno
import fcntl
import json
import mmap
import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import (
    BadDataError,
    CannotCreateError,
    FinsentError,
    StorageError,
    TryAgainError,
)
from .parquet_types import parquet_batch, parquet_schema
from .sql_text import quote_literal
from .store import first_line
from .streams import registered

MARK_KEY = "finsent_batch"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
# Stands for an empty column name, which DuckDB does not know, in a CSV header being
# written; as long as `""`, which then takes its place.
_UNNAMED = "\x01\x02"
Mark = dict[str, Any]
"""What an output says of its making: at least `input`, `input_table`, `run_id`."""


class Sink(Protocol):
    """One output."""

    path: str
    table: str | None

    def exists(self) -> bool:
        """Return whether something stands where the output would go."""
        ...

    def mark(self) -> Mark | None:
        """Return the mark of what stands there, None if it bears none."""
        ...

    def check_columns(self, schema: pa.Schema, types: dict[str, str]) -> None:
        """Raise CannotCreateError if a column of the source cannot be written here."""
        ...

    def check_writable(self) -> None:
        """Raise CannotCreateError now rather than after hours of scoring; leave no trace."""
        ...

    def write(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        mark: Mark,
        types: dict[str, str],
    ) -> None:
        """Replace what stands there by the batches, whole or not at all.

        `types` are the source's, DuckDB's own names of what its columns hold.
        """
        ...


class _FileSink:
    def __init__(self, file: Path) -> None:
        self.path = str(file.resolve())
        self.table: str | None = None
        self._file = Path(self.path)
        self._temporary = self._file.with_name(f".{self._file.name}.finsent-tmp")

    def exists(self) -> bool:
        return self._file.exists()

    def check_writable(self) -> None:
        if self._file.is_dir():
            raise CannotCreateError(f"{self._file} is a folder: name a file with -o")
        folder = self._file.parent
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._opened():
                self._temporary.unlink()
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise
            raise _cannot_write(self._file, error) from None
        finally:
            with suppress(OSError):
                for made in missing:
                    made.rmdir()

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the temporary file, locked: what a killed run left is taken over, not kept."""
        descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            yield descriptor
        except BlockingIOError:
            raise TryAgainError(
                f"another run is writing {self._file}: wait for it to end"
            ) from None
        finally:
            os.close(descriptor)

    @contextmanager
    def _replacing(self) -> Iterator[Path]:
        """Give the temporary file to fill; then force it to disk and rename it."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as descriptor:
                try:
                    yield self._temporary
                    os.fsync(descriptor)
                    self._temporary.replace(self._file)
                except BaseException:
                    with suppress(OSError):
                        self._temporary.unlink(missing_ok=True)
                    raise
            folder = os.open(self._file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FinsentError:
            raise
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno == errno.EROFS:
                raise _cannot_write(self._file, error) from None
            raise StorageError(
                f"writing {self._file} failed ({error.strerror or first_line(error)}): the earlier "
                "output is untouched, the scores are kept; make room and run again"
            ) from None


class ParquetSink(_FileSink):
    """A Parquet file, zstd-compressed; the source's Arrow schema is kept to the letter."""

    def mark(self) -> Mark | None:
        try:
            metadata = pq.read_metadata(self._file).metadata or {}
            text = metadata.get(MARK_KEY.encode())
            return json.loads(text) if text else None
        except (pa.ArrowException, OSError, ValueError):
            return None

    def check_columns(self, schema: pa.Schema, types: dict[str, str]) -> None:
        if types:
            parquet_schema(schema, self.path)

    def write(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        mark: Mark,
        types: dict[str, str],
    ) -> None:
        if types:
            schema = parquet_schema(schema, self.path)
        marks = {MARK_KEY.encode(): json.dumps(mark).encode()}
        marked = schema.with_metadata({**(schema.metadata or {}), **marks})
        with (
            self._replacing() as temporary,
            pq.ParquetWriter(
                temporary, marked, compression="zstd", version="2.6", write_page_index=True
            ) as writer,
        ):
            for batch in batches:
                rows = parquet_batch(batch, schema) if types else batch
                writer.write_batch(rows, row_group_size=122_880)


class CsvSink(_FileSink):
    """A CSV file in UTF-8 with a header; NULL is an empty field, an empty text is quoted."""

    def mark(self) -> Mark | None:
        """CSV has no room for a mark; the store's `run_files` knows what was published."""
        return None

    def check_columns(self, schema: pa.Schema, types: dict[str, str]) -> None:
        check_duckdb_columns(schema, self.path)

    def write(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        mark: Mark,
        types: dict[str, str],
    ) -> None:
        names = [name or _UNNAMED for name in schema.names]
        renamed = (batch.rename_columns(names) for batch in decodable(batches, self.path))
        named = pa.schema([f.with_name(n) for f, n in zip(schema, names, strict=True)])
        with self._replacing() as temporary, duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            target = quote_literal(str(temporary))
            with registered(connection, "labelled_rows", named, renamed):
                connection.execute(f"COPY labelled_rows TO {target} (FORMAT csv, HEADER)")
            if _UNNAMED in names:
                _blank_name(temporary)


class ArrowSink:
    """An Arrow table in memory, for the Python API; `result` is there after `write`."""

    def __init__(self) -> None:
        self.path = "memory"
        self.table: str | None = None
        self.result: pa.Table | None = None

    def exists(self) -> bool:
        return False

    def mark(self) -> Mark | None:
        return None

    def check_columns(self, schema: pa.Schema, types: dict[str, str]) -> None:
        return None

    def check_writable(self) -> None:
        return None

    def write(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        mark: Mark,
        types: dict[str, str],
    ) -> None:
        self.result = pa.Table.from_batches(batches, schema)


def _cannot_write(file: Path, error: OSError) -> CannotCreateError:
    return CannotCreateError(
        f"cannot write {file} ({error.strerror}): choose another place with -o"
    )


def check_duckdb_columns(schema: pa.Schema, where: str) -> None:
    """Raise CannotCreateError if DuckDB has no type for a column."""
    with duckdb.connect(":memory:") as connection:
        for field in schema:
            empty = pa.RecordBatchReader.from_batches(pa.schema([field.with_name("c")]), [])
            try:
                connection.from_arrow(empty).fetchall()
            except duckdb.Error:
                raise CannotCreateError(
                    f"{where}: DuckDB, which writes CSV and tables, has no type for the column "
                    f"{field.name!r} ({field.type}): write to .parquet"
                ) from None


def decodable(batches: Iterator[pa.RecordBatch], where: str) -> Generator[pa.RecordBatch]:
    """Pass on the batches; Parquet lets text be no UTF-8, tables and CSV do not."""
    with closing(batches) if isinstance(batches, Generator) else nullcontext():
        for batch in batches:
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid as error:
                raise BadDataError(
                    f"{where} cannot hold text that is not UTF-8, as the input has "
                    f"({first_line(error)}): write to .parquet, or mend the input"
                ) from None
            yield batch


def _blank_name(file: Path) -> None:
    """Turn the stand-in for an empty name, the first there is, into `""`."""
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        at = content.find(_UNNAMED.encode())
        content[at : at + len(_UNNAMED)] = b'""'
