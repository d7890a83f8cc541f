"""CSV files as sinks."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from .arrow import registered
from .atomic import replacing
from .base import FileSink, decodable
from .columns import RowSchema, check_duckdb_columns
from .provenance import FileProvenance, Provenance
from .sql import quote_literal

# Stands for an empty column name, which DuckDB does not know, in a CSV header being
# written; as long as `""`, which then takes its place.
_UNNAMED = "\x01\x02"


class CsvSink(FileSink):
    """A CSV file in UTF-8 with a header; NULL is an empty field, an empty text is quoted.

    It has no room for its provenance: `noted` remembers that of each file.
    """

    def __init__(self, file: Path, noted: FileProvenance | None = None) -> None:
        super().__init__(file)
        self._noted = noted

    def provenance(self) -> Provenance | None:
        return self._noted.find(self._file) if self._noted is not None else None

    def check_columns(self, schema: RowSchema) -> None:
        check_duckdb_columns(schema.arrow, self.path)

    def write(
        self,
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        names = [name or _UNNAMED for name in schema.names]
        own = _with_text(schema.arrow, provenance.text_column)
        as_text = (_retyped(batch, own) for batch in batches)
        renamed = (batch.rename_columns(names) for batch in decodable(as_text, self.path))
        named = pa.schema([f.with_name(n) for f, n in zip(own, names, strict=True)])

        def note(status: os.stat_result) -> None:
            if self._noted is not None:
                self._noted.note(self._file, status, provenance)

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


def _blank_name(file: Path) -> None:
    """Turn the stand-in for an empty name, the first there is, into `""`."""
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        at = content.find(_UNNAMED.encode())
        content[at : at + len(_UNNAMED)] = b'""'


def _with_text(schema: pa.Schema, column: str | None) -> pa.Schema:
    """Return the schema with the headlines as text, where their writer did not say that they are.

    DuckDB would write bytes beyond ASCII as escapes.
    """
    if column is None or column not in schema.names:
        return schema
    at = schema.get_field_index(column)
    field = schema.field(at)
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    if not any(is_kind(field.type) for is_kind in binary):
        return schema
    return schema.set(at, field.with_type(pa.large_string()))


def _retyped(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.schema.types == schema.types:
        return batch
    columns = [
        pc.cast(column, options=pc.CastOptions(field.type, allow_invalid_utf8=True))
        if column.type != field.type
        else column
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
