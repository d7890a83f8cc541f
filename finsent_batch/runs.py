"""A run: what its stages share, and the books that the store keeps of it."""

import json
import logging
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb

from . import __version__
from .config import ScoreConfig
from .csv_source import BadRow
from .engines import utc_now
from .errors import InterruptedRunError, first_line
from .models.contents import ModelState
from .models.spec import ModelSpec
from .planning import IS_UNDECODABLE, Progress
from .sinks import Sink
from .sources import Source
from .store import Store
from .summary import Summary

logger = logging.getLogger(__name__)


class StopRequest:
    """A wish to stop, set by a signal handler and looked at between batches."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def check(self) -> None:
        """Raise InterruptedRunError if a stop was asked for."""
        if self():
            raise self.error()

    def error(self) -> InterruptedRunError:
        """Return the error that ends a stopped run: exit code 128 + the signal's number."""
        return InterruptedRunError(
            "stopped on request; what was scored is kept, run the same command to go on",
            exit_code=128 + (self.signal or 0),
        )


def no_progress(stage: str, done: int, total: int | None, note: str = "") -> None:
    """Show nothing."""


@dataclass(kw_only=True)
class Job:
    """One table to score: where it comes from, where it goes."""

    source: Source
    sink: Sink
    text_column: str
    bad_rows: tuple[BadRow, ...] = ()


@dataclass(kw_only=True)
class Run:
    """What the stages of one run share."""

    config: ScoreConfig
    store: Store
    spec: ModelSpec
    device: str
    weights: str
    fingerprint: str
    files: ModelState
    """The model's files as they were when the fingerprint was taken."""
    summary: Summary
    progress: Progress
    stop: StopRequest
    jobs: list[Job] = field(default_factory=list)

    def log(self, stage: str, done: str, **counts: int) -> None:
        """Log what a stage has done; only counts, never a headline."""
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        extra = {"run_id": self.summary.run_id, "stage": stage, "counts": counts}
        logger.info("%s: %s", done, told, extra=extra)


def open_books(run: Run) -> None:
    # Only one run can hold the store: another still "running" was killed.
    run.store.connection.execute("UPDATE runs SET status = 'killed' WHERE status = 'running'")
    _register_model(run)
    run.store.insert(
        "runs",
        {
            "run_id": run.summary.run_id,
            "status": "running",
            "version": __version__,
            "started_at": utc_now(),
            "input": run.summary.input,
            "output": run.summary.output,
            "model": run.summary.model,
            "model_fingerprint": run.fingerprint,
            "device": run.device,
            "options": json.dumps(asdict(run.config), default=str),
        },
    )


def _register_model(run: Run) -> None:
    known = "SELECT 1 FROM models WHERE model_fingerprint = ?"
    if run.store.query(known, [run.fingerprint]):
        return
    run.store.insert(
        "models",
        {
            "model_fingerprint": run.fingerprint,
            "model": run.summary.model,
            "family": run.spec.family,
            "base": run.spec.base_id,
            "weights": run.weights,
            "path": str(run.spec.folder),
            "first_used_at": utc_now(),
            "details": json.dumps(run.spec.card),
        },
    )


def close_books(run: Run) -> None:
    summary = run.summary
    values: dict[str, Any] = {
        "status": summary.status,
        "exit_code": summary.exit_code,
        "finished_at": utc_now(),
        "tokens": summary.tokens,
        "seconds": summary.seconds["total"],
        "headlines_per_second": summary.headlines_per_second,
        "unique_scored": summary.rows["unique_scored"],
        "summary": summary.to_json(),
        **{
            f"rows_{name}": summary.rows[name]
            for name in ("read", "scored", "reused", "truncated", "empty", "invalid")
        },
    }
    assignments = ", ".join(f"{name} = ?" for name in values)
    try:
        run.store.connection.execute(
            f"UPDATE runs SET {assignments} WHERE run_id = ?", [*values.values(), summary.run_id]
        )
    except duckdb.Error as error:
        # Of a run that failed the reason is being told already.
        level = logging.INFO if summary.exit_code else logging.WARNING
        logger.log(level, "the end of this run could not be recorded: %s", first_line(error))


def quarantine(run: Run) -> None:
    """Record what was not scored for a reason of its own: row, line and why."""
    now, run_id = utc_now(), run.summary.run_id
    for number, job in enumerate(run.jobs):
        run.store.connection.execute(
            f"""INSERT INTO quarantine
            SELECT $1, $2, row_number + 1, NULL, coalesce(reason, 'the text is not valid UTF-8'),
                NULL, $3::TIMESTAMP
            FROM plan.plan_rows LEFT JOIN plan.invalid USING (headline_key)
            WHERE file = $4 AND (state = {IS_UNDECODABLE} OR reason IS NOT NULL)""",
            [run_id, job.source.path, now, number],
        )
        for bad in job.bad_rows:
            run.store.insert(
                "quarantine",
                {
                    "run_id": run_id,
                    "input": job.source.path,
                    "line_number": bad.line,
                    "reason": f"{bad.fields} fields instead of {bad.expected}",
                    "content": bad.text if run.config.store_text else None,
                    "recorded_at": now,
                },
            )
