"""Where labelled rows go: Parquet, CSV or a DuckDB table, whole or not at all.

A file is written beside its final name, forced to disk and renamed. A table is
made in one transaction. Both carry a mark that says which input they were made
from, so that the same command may replace its own output and nobody else's.
"""

import json
import mmap
import os
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from .atomic import cannot_write, opened_temporary, replacing, temporary_of
from .errors import DISK_FULL, BadDataError, CannotCreateError, first_line
from .marks import MARK_KEY, FileMarks, Mark
from .parquet_types import parquet_batch, parquet_schema
from .sql_text import quote_literal
from .streams import registered

# Stands for an empty column name, which DuckDB does not know, in a CSV header being
# written; as long as `""`, which then takes its place.
_UNNAMED = "\x01\x02"


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
        self.path = os.path.realpath(file)
        self.table: str | None = None
        self._file = Path(self.path)

    def exists(self) -> bool:
        return self._file.exists()

    def check_writable(self) -> None:
        if self._file.is_dir():
            raise CannotCreateError(f"{self._file} is a folder: name a file with -o")
        folder = self._file.parent
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with opened_temporary(self._file):
                temporary_of(self._file).unlink()
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            raise cannot_write(self._file, error) from None
        finally:
            with suppress(OSError):
                for made in missing:
                    made.rmdir()


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
            replacing(self._file, parents=True) as temporary,
            pq.ParquetWriter(
                temporary,
                marked,
                compression="zstd",
                version="2.6",
                write_page_index=True,
                write_page_checksum=True,
            ) as writer,
        ):
            for batch in batches:
                rows = parquet_batch(batch, schema) if types else batch
                writer.write_batch(rows, row_group_size=122_880)


class CsvSink(_FileSink):
    """A CSV file in UTF-8 with a header; NULL is an empty field, an empty text is quoted.

    It has no room for a mark: `marks` remembers which file bears which.
    """

    def __init__(self, file: Path, marks: FileMarks | None = None) -> None:
        super().__init__(file)
        self._marks = marks

    def mark(self) -> Mark | None:
        return self._marks.find(self._file) if self._marks is not None else None

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

        def note(status: os.stat_result) -> None:
            if self._marks is not None:
                self._marks.note(self._file, status, mark)

        with (
            replacing(self._file, parents=True, ready=note) as temporary,
            duckdb.connect(":memory:") as connection,
        ):
            connection.execute("SET TimeZone = 'UTC'")
            # Several threads would hold finished rows back to write them in order.
            connection.execute("SET threads = 1")
            target = quote_literal(str(temporary))
            with registered(connection, "labelled_rows", named, renamed):
                # Without a temporary file of DuckDB's own, which would take this one's place.
                connection.execute(
                    f"COPY labelled_rows TO {target} (FORMAT csv, HEADER, USE_TMP_FILE false)"
                )
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
