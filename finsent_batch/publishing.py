"""Publish: the sources in their own order, each row with its headline's score.

Original columns never pass through a conversion: they are the Arrow columns
that were read, with nine more after them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from .distributions import add_histograms, histograms_of
from .errors import BadDataError, TryAgainError
from .failpoints import failpoint
from .labels import LABELS
from .marks import Mark
from .planning import HAS_TEXT, IS_EMPTY, Plan, PlannedSource, Progress
from .sinks import Sink
from .store import STORE_CATALOG, Store

RESULT_SCHEMA = pa.schema(
    [
        ("sentiment", pa.string()),
        ("sentiment_score", pa.float32()),
        ("p_negative", pa.float32()),
        ("p_neutral", pa.float32()),
        ("p_positive", pa.float32()),
        ("score_status", pa.string()),
        ("model_fingerprint", pa.string()),
        ("run_id", pa.string()),
        ("scored_at", pa.timestamp("us")),
    ]
)
"""The added columns, in their order after the original ones."""

# Ties go to the first label in order, as numpy's argmax has it in evaluation.
_LABEL = f"""CASE WHEN p_negative >= p_neutral AND p_negative >= p_positive THEN '{LABELS[0]}'
    WHEN p_neutral >= p_positive THEN '{LABELS[1]}' WHEN p_positive IS NOT NULL THEN '{LABELS[2]}'
    END"""
_STATUS = f"""CASE WHEN state = {IS_EMPTY} THEN 'empty' WHEN state <> {HAS_TEXT} THEN 'invalid'
    WHEN truncated THEN 'truncated' WHEN p_positive IS NOT NULL THEN 'scored'
    WHEN invalid.headline_key IS NOT NULL THEN 'invalid' END"""
_RESULTS = f"""
    SELECT {_LABEL} AS sentiment, p_positive - p_negative AS sentiment_score,
        p_negative, p_neutral, p_positive, {_STATUS} AS score_status,
        scores.model_fingerprint, run_id, scored_at
    FROM plan.plan_rows
    LEFT JOIN (FROM scores WHERE model_fingerprint = $1) AS scores USING (headline_key)
    LEFT JOIN plan.invalid AS invalid ON invalid.headline_key = plan_rows.headline_key
    ORDER BY file, row_number"""


@dataclass(kw_only=True)
class Counts:
    """Rows published, by status, by label and over the bins of `distributions`."""

    status: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("scored", "truncated", "empty", "invalid"), 0)
    )
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    histograms: dict[str, list[int]] = field(default_factory=dict)
    rows: int = 0

    def add(self, results: pa.RecordBatch) -> None:
        """Count a batch of results."""
        self.rows += results.num_rows
        for counts, name in ((self.status, "score_status"), (self.labels, "sentiment")):
            for entry in results.column(name).value_counts().to_pylist():
                if entry["values"] is not None:
                    counts[entry["values"]] += entry["counts"]
        columns = [results.column(f"p_{label}").to_numpy(zero_copy_only=False) for label in LABELS]
        add_histograms(self.histograms, histograms_of(np.stack(columns, axis=1)))


class Results:
    """The scores of all planned rows as one ordered stream, taken a given number at a time."""

    def __init__(self, store: Store, fingerprint: str) -> None:
        self._cursor = store.connection.cursor()
        self._cursor.execute(f"USE {STORE_CATALOG}")
        self._reader = self._cursor.sql(_RESULTS, params=[fingerprint]).to_arrow_reader(65_536)
        self._rest = RESULT_SCHEMA.empty_table()

    def take(self, rows: int) -> pa.RecordBatch:
        """Return the next `rows` results as one batch, fewer where there are no more."""
        while self._rest.num_rows < rows and (batch := next(self._reader, None)) is not None:
            more = pa.Table.from_batches([batch]).cast(RESULT_SCHEMA)
            self._rest = pa.concat_tables([self._rest, more])
        taken = self._rest.slice(0, rows).combine_chunks().to_batches()
        self._rest = self._rest.slice(rows)
        return taken[0] if taken else pa.RecordBatch.from_pylist([], schema=RESULT_SCHEMA)

    def close(self) -> None:
        """End the query; the reader would keep the store open beyond this run."""
        self._reader.close()
        self._cursor.close()


def output_schema(schema: pa.Schema, *, replace: bool, where: str) -> pa.Schema:
    """Return a source's schema with the result columns after it.

    Raises:
        BadDataError: the source already has one of them and `replace` is false.
    """
    taken = {name.casefold() for name in RESULT_SCHEMA.names}
    present = [name for name in schema.names if name.casefold() in taken]
    if present and not replace:
        raise BadDataError(
            f"{where} already has the column {present[0]!r}: rename it, "
            "or let it be replaced with --replace-columns"
        )
    for name in present:
        schema = schema.remove(schema.get_field_index(name))
    for added in RESULT_SCHEMA:
        schema = schema.append(added)
    return schema


def publish(
    store: Store,
    plan: Plan,
    sinks: list[Sink],
    marks: list[Mark],
    fingerprint: str,
    *,
    ready: Callable[[PlannedSource, Sink], None],
    progress: Progress,
) -> Iterator[tuple[PlannedSource, Sink, Counts]]:
    """Write each source to its sink and yield what was written, as soon as it stands.

    `ready` is called before each and raises if the sink may not be written.

    Raises:
        TryAgainError: a source changed since it was planned.
    """
    results = Results(store, fingerprint)
    done = 0
    try:
        for planned, sink, mark in zip(plan.sources, sinks, marks, strict=True):
            counts = Counts()
            ready(planned, sink)
            _check_unchanged(planned)
            schema = output_schema(planned.source.schema, replace=True, where=planned.source.path)

            def report(rows: int, before: int = done) -> None:
                progress("publish", before + rows, plan.rows)

            rows = _labelled(planned, schema, results, counts, report)
            kept = schema.names[: -len(RESULT_SCHEMA)]
            types = {name: kind for name, kind in planned.source.types.items() if name in kept}
            sink.write(schema, rows, mark, types)
            done += counts.rows
            yield planned, sink, counts
    finally:
        results.close()


def _labelled(
    planned: PlannedSource, schema: pa.Schema, results: Results, counts: Counts, report: object
) -> Iterator[pa.RecordBatch]:
    kept = schema.names[: -len(RESULT_SCHEMA)]
    for batch in planned.source.batches():
        scores = results.take(batch.num_rows)
        if scores.num_rows < batch.num_rows or scores.column("score_status").null_count:
            raise TryAgainError(_changed(planned))
        counts.add(scores)
        failpoint("publish")
        columns = [batch.column(name) for name in kept] + scores.columns
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        assert callable(report)
        report(counts.rows)
    _check_unchanged(planned)


def _check_unchanged(planned: PlannedSource) -> None:
    if planned.source.signature() != planned.signature:
        raise TryAgainError(_changed(planned))


def _changed(planned: PlannedSource) -> str:
    return (
        f"{planned.source.path} changed while it was being scored: run again; "
        "the scores made so far are kept"
    )
