"""Publish: the sources in their own order, each row with its headline's score.

Original columns never pass through a conversion: they are the Arrow columns
that were read, with nine more after them.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pyarrow as pa

from ..errors import BadDataError, TryAgainError
from ..failpoints import failpoint
from ..io.base import FileSink, Sink, decoded
from ..io.columns import RowSchema
from ..io.provenance import Provenance
from ..io.result_columns import CONFIDENT_COLUMN, output_schema
from .plan import PlannedSource
from .result_stream import Counts, Results
from .texts.digest import TextDigest


def publish(
    planned: PlannedSource,
    sink: Sink,
    provenance: Provenance,
    results: Results,
    report: Callable[[int], None],
) -> Counts:
    """Write a source to its sink, each row with its result; return what was written.

    `results` are at the source's first row; `report` is called with the rows so far.

    Raises:
        TryAgainError: the source changed since it was planned.
        BadDataError: its columns are not of the same length.
    """
    _check_unchanged(planned)
    counts = Counts()
    schema = output_schema(
        planned.source.schema,
        replace=True,
        where=planned.source.path,
        confident=CONFIDENT_COLUMN in results.schema.names,
    )
    # Else a source that a failing sink leaves half read would let go of its file too late.
    with closing(_labelled(planned, schema, results, counts)) as labelled:
        # DuckDB, which writes tables, reads the rows with its own threads.
        rows = _ahead(labelled) if isinstance(sink, FileSink) else labelled
        with closing(rows), closing(_reported(rows, report)) as reported:
            sink.write(schema, reported, provenance)
    return counts


def _reported(
    batches: Iterator[pa.RecordBatch], report: Callable[[int], None]
) -> Generator[pa.RecordBatch]:
    rows = 0
    for batch in batches:
        yield batch
        rows += batch.num_rows
        report(rows)


def _ahead(batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
    """Yield the batches, each made in another thread while the one before it is written."""
    with ThreadPoolExecutor(1, thread_name_prefix="publish") as background:
        coming: Future[pa.RecordBatch | None] = background.submit(next, batches, None)
        try:
            while (batch := coming.result()) is not None:
                coming = background.submit(next, batches, None)
                yield batch
        finally:
            del coming  # its error would keep this frame and the batches until collected


def _labelled(
    planned: PlannedSource,
    schema: RowSchema,
    results: Results,
    counts: Counts,
) -> Generator[pa.RecordBatch]:
    kept = schema.names[: -len(results.schema)]
    digest = TextDigest()
    for batch in planned.source.batches():
        digest.add(*decoded(batch.column(planned.text_column)))
        scores = results.take(batch.num_rows)
        if scores.num_rows < batch.num_rows or scores.column("score_status").null_count:
            raise TryAgainError(changed_meanwhile(planned))
        counts.add(scores)
        failpoint("publish")
        columns = [batch.column(name) for name in kept] + scores.columns
        yield pa.RecordBatch.from_arrays(columns, schema=schema.arrow)
    _check_unchanged(planned)
    if counts.rows != planned.rows:
        raise BadDataError(
            f"{planned.source.path} is damaged: it gives {planned.rows} rows of its headline "
            f"column and {counts.rows} of all columns: get it again"
        )
    if digest.value() != planned.digest:
        raise TryAgainError(changed_meanwhile(planned))


def _check_unchanged(planned: PlannedSource) -> None:
    if planned.source.signature() != planned.signature:
        raise TryAgainError(changed_meanwhile(planned))


def changed_meanwhile(planned: PlannedSource) -> str:
    """Say that an input is no longer what was planned, and what to do."""
    return (
        f"{planned.source.path} changed while it was being scored: run again; "
        "the scores made so far are kept"
    )
