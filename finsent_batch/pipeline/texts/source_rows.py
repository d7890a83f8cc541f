"""A source's texts in numbered rows, as DuckDB reads them to plan a run."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ...arrays import row_numbers, to_arrow, to_numpy
from ...headlines import unusual
from ...io.base import Source, decoded

KEY: Final = "headline_key"
_FIELDS = (
    pa.field("row_number", pa.int64()),
    pa.field("text", pa.large_string()),
    pa.field("undecodable", pa.bool_()),
)
_UNUSUAL = pa.field("unusual", pa.bool_())


def row_schema(source: Source, origin: str | None) -> pa.Schema:
    """Return the schema of `source_rows`."""
    more = [] if origin is None else [source.schema.arrow.field(origin).with_name("origin")]
    return pa.schema([*_FIELDS, *more, _UNUSUAL])


def source_rows(source: Source, column: str, origin: str | None) -> Iterator[pa.RecordBatch]:
    """Yield every row of a source: its text in `column` and, if given, its value in `origin`.

    They come in their order, numbered from 0, with what decides whether a text needs normalising.
    """
    return map(_marked, _numbered(source, column, origin))


def keyed_schema(keys: pa.Schema) -> pa.Schema:
    """Return the schema of `keyed_rows` for keys of a schema."""
    return pa.schema([*_FIELDS, keys.field(KEY), _UNUSUAL])


def keyed_rows(
    source: Source, column: str, keys: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield those rows of a source that `keys` name, each with its `headline_key`.

    `keys` come in the order of their `row_number`. Behind the last, no row is read.
    """
    more = (batch for batch in keys if batch.num_rows)
    if (waiting := next(more, None)) is None:
        return
    for batch in _numbered(source, column, None):
        found = []
        while waiting is not None and (count := _within(batch, waiting)):
            found.append(waiting.slice(0, count))
            waiting = waiting.slice(count) if count < waiting.num_rows else next(more, None)
        if found:
            yield _marked(_taken(batch, found))
        if waiting is None:
            return


def _numbered(source: Source, column: str, origin: str | None) -> Iterator[pa.RecordBatch]:
    schema = row_schema(source, origin)
    schema = schema.remove(len(schema) - 1)
    start = 0
    for batch in source.batches([column] if origin in (None, column) else [column, origin]):
        text, undecodable = decoded(batch.column(column))
        numbers = row_numbers(start, len(text))
        start += len(text)
        if isinstance(undecodable, pa.ChunkedArray):
            undecodable = undecodable.combine_chunks()
        columns = [numbers, text, undecodable]
        if origin is not None:
            columns.append(batch.column(origin))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _marked(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.append_column(_UNUSUAL, unusual(batch.column("text")))


def _within(batch: pa.RecordBatch, keys: pa.RecordBatch) -> int:
    """Return how many of `keys` are of rows up to a batch's last."""
    if not batch.num_rows:
        return 0
    last = to_numpy(batch.column("row_number"), 0)[-1]
    return int(np.searchsorted(to_numpy(keys.column("row_number"), 0), last, side="right"))


def _taken(batch: pa.RecordBatch, keys: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the rows of a batch that `keys` name, with their keys."""
    wanted = np.concatenate([to_numpy(part.column("row_number"), 0) for part in keys])
    if len(wanted) < batch.num_rows:
        batch = batch.take(to_arrow(wanted - to_numpy(batch.column("row_number"), 0)[0]))
    own = pa.concat_arrays([part.column(KEY) for part in keys])
    return batch.append_column(keys[0].schema.field(KEY), own)
