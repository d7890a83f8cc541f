"""Text files as sinks: CSV, TSV and JSON lines, compressed or not."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import CannotCreateError
from ..arrow import registered
from ..atomic import replacing
from ..base import FileSink, decodable
from ..columns import RowSchema, check_duckdb_columns
from ..paths import output_format_of
from ..provenance import FileProvenance, Provenance
from ..sql import quote_identifier, quote_literal
from .jsonl import is_raw_json

# Stands for an empty column name, which DuckDB does not know, in a CSV header being
# written; as long as `""`, which then takes its place.
_UNNAMED = "\x01\x02"
# A file of DuckDB's own would take the temporary one's place.
_IN_PLACE = "USE_TMP_FILE false"
_OPTIONS: Final = {
    "csv": f"FORMAT csv, HEADER, {_IN_PLACE}",
    "tsv": f"FORMAT csv, HEADER, DELIMITER '\t', {_IN_PLACE}",
    "jsonl": f"FORMAT json, {_IN_PLACE}",
}
_COMPRESSIONS: Final = {"": "none", "gz": "gzip", "zst": "zstd"}


class TextSink(FileSink):
    """A text file in UTF-8, one of `text.formats.OUTPUT_FORMATS`, by default what its suffix says.

    In CSV and TSV there is a header, NULL is an empty field and an empty text is quoted. In JSON
    lines NULL is null, as is a number that is none, which JSON lacks, and what was a list or an
    object of a JSON input is one again.

    It has no room for its provenance: `noted` remembers that of each file.
    """

    def __init__(
        self, file: Path, noted: FileProvenance | None = None, *, format: str | None = None
    ) -> None:
        super().__init__(file)
        self._noted = noted
        chosen = format or output_format_of(file) or "csv"
        self._kind, _, self._compression = chosen.partition(".")

    def provenance(self) -> Provenance | None:
        return self._noted.find(self._file) if self._noted is not None else None

    def check_columns(self, schema: RowSchema) -> None:
        if "" in schema.names and (self._compression or self._kind == "jsonl"):
            raise CannotCreateError(
                f"{self.path}: a column without a name, as one of the input is, can only be "
                "written to .parquet or uncompressed .csv or .tsv: name it, or write to one of "
                "these"
            )
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
            # A COPY of one thread whose rows fail may wait for its own tasks for ever.
            with registered(connection, "labelled_rows", named, renamed, ends_quietly=True):
                connection.execute(self._copy(temporary, own))
            if _UNNAMED in names:
                _blank_name(temporary)

    def _copy(self, target: Path, schema: pa.Schema) -> str:
        options = f"{_OPTIONS[self._kind]}, COMPRESSION {_COMPRESSIONS[self._compression]}"
        changed = list(_for_json(schema)) if self._kind == "jsonl" else []
        rows = "*" + (f" REPLACE ({', '.join(changed)})" if changed else "")
        return (
            f"COPY (SELECT {rows} FROM labelled_rows) TO {quote_literal(str(target))} ({options})"
        )


def _for_json(schema: pa.Schema) -> Iterator[str]:
    """Yield what DuckDB has to select of columns that it would write as no or another JSON."""
    for field in schema:
        name = quote_identifier(field.name)
        if is_raw_json(field):
            yield f"CAST({name} AS JSON) AS {name}"
        elif field.type in (pa.float32(), pa.float64()):
            # By way of text: a FLOAT of 0.1 is 0.1, not the DOUBLE next to it.
            number = f"CASE WHEN isfinite({name}) THEN {name} END"
            yield f"CAST(CAST({number} AS VARCHAR) AS DOUBLE) AS {name}"


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
