"""Where labelled rows go: Parquet, CSV or a DuckDB table, whole or not at all.

A file is written beside its final name, forced to disk and renamed. A table is
made in one transaction. Both carry a mark that says which input they were made
from, so that the same command may replace its own output and nobody else's.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import CannotCreateError, FinsentError, StorageError, TryAgainError
from .sources import attached
from .sql import quote_identifier, quote_literal
from .store import first_line

MARK_KEY = "finsent_batch"
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

    def check_writable(self) -> None:
        """Raise CannotCreateError now rather than after hours of scoring."""
        ...

    def write(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], mark: Mark) -> None:
        """Replace what stands there by the batches, whole or not at all."""
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
        folder = self._file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._opened():
                pass
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise _cannot_write(self._file, error) from None
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES):
                raise _cannot_write(self._file, error) from None
            raise
        if self._file.is_dir():
            raise CannotCreateError(f"{self._file} is a folder: name a file with -o")
        self._temporary.unlink()

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

    def write(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], mark: Mark) -> None:
        metadata = {**(schema.metadata or {}), MARK_KEY: json.dumps(mark)}
        marked = schema.with_metadata(metadata)
        with (
            self._replacing() as temporary,
            pq.ParquetWriter(
                temporary, marked, compression="zstd", version="2.6", write_page_index=True
            ) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch, row_group_size=122_880)


class CsvSink(_FileSink):
    """A CSV file in UTF-8 with a header; NULL is an empty field, an empty text is quoted."""

    def mark(self) -> Mark | None:
        """CSV has no room for a mark; the store's `run_files` knows what was published."""
        return None

    def write(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], mark: Mark) -> None:
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        with self._replacing() as temporary, duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("labelled_rows", reader)
            target = quote_literal(str(temporary))
            connection.execute(f"COPY labelled_rows TO {target} (FORMAT csv, HEADER)")


class DuckDBSink:
    """A table of a DuckDB file, made in one transaction; its comment bears the mark."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, file: Path, table: str) -> None:
        self.path = str(file.resolve())
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
                "table_name = $2 AND schema_name = 'main' UNION ALL "
                "SELECT '' FROM duckdb_views() WHERE database_name = $1 AND view_name = $2 "
                "AND schema_name = 'main'",
                [catalog, self.table],
            ).fetchone()
        return row[0] if row else None

    def check_writable(self) -> None:
        if self._file.is_dir():
            raise CannotCreateError(f"{self._file} is a folder: name a file with -o")
        target = self._file if self._file.exists() else self._file.parent
        if not target.exists() or not os.access(target, os.W_OK):
            raise CannotCreateError(f"cannot write {target}: check the path and its permissions")

    def write(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], mark: Mark) -> None:
        try:
            with attached(self._connection, self._file, write=True, create=True) as (
                cursor,
                catalog,
            ):
                cursor.begin()
                try:
                    self._fill(cursor, f"{catalog}.main.{self._name}", schema, batches, mark)
                except BaseException:
                    cursor.rollback()
                    raise
                cursor.commit()
        except duckdb.CatalogException as error:
            raise CannotCreateError(
                f"cannot create table {self.table!r} in {self._file}: {first_line(error)}"
            ) from None
        except duckdb.IOException as error:
            raise StorageError(
                f"writing {self._file} failed ({first_line(error)}): the earlier table is "
                "untouched, the scores are kept; make room and run again"
            ) from None

    def _fill(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: str,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        mark: Mark,
    ) -> None:
        cursor.register("labelled_rows", schema.empty_table())
        cursor.execute(f"CREATE OR REPLACE TABLE {name} AS FROM labelled_rows")
        for batch in batches:
            cursor.register("labelled_rows", pa.Table.from_batches([batch]))
            cursor.execute(f"INSERT INTO {name} FROM labelled_rows")
        cursor.unregister("labelled_rows")
        comment = quote_literal(json.dumps({MARK_KEY: mark}))
        cursor.execute(f"COMMENT ON TABLE {name} IS {comment}")


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

    def check_writable(self) -> None:
        return None

    def write(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], mark: Mark) -> None:
        self.result = pa.Table.from_batches(batches, schema)


def _cannot_write(file: Path, error: OSError) -> CannotCreateError:
    return CannotCreateError(
        f"cannot write {file} ({error.strerror}): choose another place with -o"
    )
