"""The last stage of a run: publish every input and record it in the store."""

import json
import logging
from collections.abc import Callable
from contextlib import closing
from functools import partial

from ..errors import TryAgainError
from ..io.append.day_sink import DayPartitionsSink
from ..io.append.delta_sink import DeltaSink
from ..io.base import Sink
from ..io.duckdb_append import AppendingSink
from ..io.provenance import Provenance
from ..io.retry import retried
from ..io.whole.standard_streams import STANDARD_OUTPUT
from ..metrics.histograms import add_histograms
from ..progress import Progress
from ..store.store import utc_now
from ..store.views import refresh_views
from ..version import __version__
from .plan import Plan, PlannedSource
from .publish import publish
from .result_stream import Counts, Results
from .run import ScoreRun, ScoreTask
from .run_record import quarantine
from .tasks import check_target
from .unchanged import Noted

logger = logging.getLogger(__name__)


def publish_tasks(run: ScoreRun, plan: Plan, progress: Progress) -> None:
    """Publish the sources of a run, waiting for outputs that others hold, and count the rows.

    Raises:
        TryAgainError: an output is still held after `publish_wait`, or a source changed.
        CannotCreateError: somebody else's output stands there now.
    """
    rows, confident = run.summary.rows, 0
    fingerprints = [model.fingerprint for model in run.models]
    results = Results(run.store, fingerprints, run.config.min_confidence)
    with closing(results):
        for task, planned in zip(run.tasks, plan.sources, strict=True):

            def report(published: int, before: int = rows["read"]) -> None:
                progress("publish", before + published, plan.rows)

            _await_target(run, planned, task.sink, partial(report, 0))
            noted = Noted(run, task)
            counts = publish(planned, task.sink, _provenance(run, task), results, report)
            _count(run, counts)
            _note_changes(run, task.sink)
            confident += counts.confident
            _record(run, task, planned, task.sink, counts.rows)
            noted.published(task.sink)
    labelled = rows["scored"] + rows["truncated"]
    [(invalid,)] = run.store.query("SELECT count(DISTINCT headline_key) FROM plan.invalid")
    rows["reused"] = labelled - rows["unique_scored"]
    rows["duplicate"] = labelled - (plan.distinct - invalid)
    run.summary.note_coverage(run.config.min_confidence, confident)
    quarantine(run)
    refresh_views(run.store)


def _count(run: ScoreRun, counts: Counts) -> None:
    """Add what was published of one source to the summary."""
    rows, labels = run.summary.rows, run.summary.labels
    rows["read"] += counts.rows
    for status, count in counts.status.items():
        rows[status] += count
    for label, count in counts.labels.items():
        labels[label] = labels.get(label, 0) + count
    add_histograms(run.summary.histograms, counts.histograms)


def _note_changes(run: ScoreRun, sink: Sink) -> None:
    """Say how a table that inputs share took in columns that are not its own."""
    if isinstance(sink, AppendingSink | DayPartitionsSink | DeltaSink):
        named = f"table {sink.table!r}" if sink.table else sink.path
        run.summary.warnings += [f"{named}: {change}" for change in sink.changes]


def _record(run: ScoreRun, task: ScoreTask, planned: PlannedSource, sink: Sink, rows: int) -> None:
    """Tell the store what was published, and how its news are read."""
    assert task.times is not None
    run.summary.outputs.append(sink.path + (f"::{sink.table}" if sink.table else ""))
    logger.debug("published %d rows of %s to %s", rows, planned.source.path, sink.path)
    if sink.path == STANDARD_OUTPUT:
        return
    [(number,)] = run.store.query("SELECT coalesce(max(number), 0) + 1 FROM run_files")
    times = task.columns.times
    run.store.insert(
        "run_files",
        {
            "run_id": run.summary.run_id,
            "input": planned.source.path,
            "input_table": planned.source.table,
            "output": sink.path,
            "output_table": sink.table,
            "rows": rows,
            "published_at": run.store.after("run_files", "published_at", utc_now()),
            "number": number,
            "text_column": task.columns.text_column,
            "date_column": task.columns.date_column,
            "date_format": times.date_format,
            "timezone": times.timezone,
            "undated": task.times.counts.undated,
            "faults": json.dumps(task.times.counts.faults),
            "row_limit": run.config.limit,
            "content": task.times.content,
        },
    )


def _await_target(
    run: ScoreRun, planned: PlannedSource, sink: Sink, waiting: Callable[[], None]
) -> None:
    """Check an output once more; where another process holds it, wait for that to end."""

    def told(error: TryAgainError) -> None:
        logger.warning("waiting up to %g seconds: %s", run.config.publish_wait, error)

    retried(
        lambda: check_target(sink, planned.source, run.config),
        run.config.publish_wait,
        told=told,
        waiting=waiting,
    )


def _provenance(run: ScoreRun, task: ScoreTask) -> Provenance:
    times = task.columns.times
    return Provenance(
        version=__version__,
        input=task.source.path,
        input_table=task.source.table,
        run_id=run.summary.run_id,
        model=run.summary.model,
        model_fingerprint=run.fingerprint,
        limit=run.config.limit,
        settled=True,
        text_column=task.columns.text_column,
        date_column=task.columns.date_column,
        date_format=times.date_format,
        timezone=times.timezone,
    )
