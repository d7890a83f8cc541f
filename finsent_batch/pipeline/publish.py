"""Publish: the sources in their own order, each row with its headline's score.

Original columns never pass through a conversion: they are the Arrow columns
that were read, with nine more after them.
"""

from collections.abc import Callable, Iterator

import pyarrow as pa

from ..errors import BadDataError, TryAgainError
from ..failpoints import failpoint
from ..io.base import Sink, decoded
from ..io.columns import RowSchema
from ..io.provenance import Provenance
from ..io.result_columns import output_schema
from ..progress import Progress
from ..store.store import Store
from .plan import Plan, PlannedSource
from .result_stream import Counts, Results
from .text_digest import TextDigest


def publish(
    store: Store,
    plan: Plan,
    sinks: list[Sink],
    provenances: list[Provenance],
    fingerprint: str,
    *,
    ready: Callable[[PlannedSource, Sink], None],
    min_confidence: float | None = None,
    progress: Progress,
) -> Iterator[tuple[PlannedSource, Sink, Counts]]:
    """Write each source to its sink and yield what was written, as soon as it stands.

    `ready` is called before each and raises if the sink may not be written.

    Raises:
        TryAgainError: a source changed since it was planned.
        BadDataError: a source's columns are not of the same length.
    """
    results = Results(store, fingerprint, min_confidence)
    confident = min_confidence is not None
    done = 0
    try:
        for planned, sink, provenance in zip(plan.sources, sinks, provenances, strict=True):
            counts = Counts()
            ready(planned, sink)
            _check_unchanged(planned)
            schema = output_schema(
                planned.source.schema, replace=True, where=planned.source.path, confident=confident
            )

            def report(rows: int, before: int = done) -> None:
                progress("publish", before + rows, plan.rows)

            rows = _labelled(planned, schema, results, counts, report)
            sink.write(schema, rows, provenance)
            done += counts.rows
            yield planned, sink, counts
    finally:
        results.close()


def _labelled(
    planned: PlannedSource,
    schema: RowSchema,
    results: Results,
    counts: Counts,
    report: object,
) -> Iterator[pa.RecordBatch]:
    kept = schema.names[: -len(results.schema)]
    digest = TextDigest()
    for batch in planned.source.batches():
        digest.add(*decoded(batch.column(planned.text_column)))
        scores = results.take(batch.num_rows)
        if scores.num_rows < batch.num_rows or scores.column("score_status").null_count:
            raise TryAgainError(_changed(planned))
        counts.add(scores)
        failpoint("publish")
        columns = [batch.column(name) for name in kept] + scores.columns
        yield pa.RecordBatch.from_arrays(columns, schema=schema.arrow)
        assert callable(report)
        report(counts.rows)
    _check_unchanged(planned)
    if counts.rows != planned.rows:
        raise BadDataError(
            f"{planned.source.path} is damaged: it gives {planned.rows} rows of its headline "
            f"column and {counts.rows} of all columns: get it again"
        )
    if digest.value() != planned.digest:
        raise TryAgainError(_changed(planned))


def _check_unchanged(planned: PlannedSource) -> None:
    if planned.source.signature() != planned.signature:
        raise TryAgainError(_changed(planned))


def _changed(planned: PlannedSource) -> str:
    return (
        f"{planned.source.path} changed while it was being scored: run again; "
        "the scores made so far are kept"
    )
