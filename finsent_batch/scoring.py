"""The story of a `score` run: plan, score what is missing, publish."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb

from . import __version__
from .config import ScoreConfig
from .csv_source import BadRow
from .engines import Commit, run_local, utc_now
from .errors import FinsentError, InterruptedRunError, StorageError
from .hardware import resolve_device, resolve_weights
from .inputs import Pair, check_target, open_sink, open_source, resolve_pairs
from .models.directory import ModelSpec, open_model
from .models.files import FileHashes
from .planning import IS_UNDECODABLE, Plan, Progress, make_plan
from .publishing import output_schema, publish
from .scorers import Scorer
from .sinks import Mark, Sink
from .sources import Source, choose_text_column
from .store import Store, first_line
from .summary import Summary

logger = logging.getLogger(__name__)


class StopRequest:
    """A wish to stop, set by a signal handler and looked at between batches."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def error(self) -> InterruptedRunError:
        """Return the error that ends a stopped run: exit code 128 + the signal's number."""
        return InterruptedRunError(
            "stopped on request; what was scored is kept, run the same command to go on",
            exit_code=128 + (self.signal or 0),
        )


def no_progress(stage: str, done: int, total: int | None) -> None:
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
    summary: Summary
    progress: Progress
    stop: StopRequest
    jobs: list[Job] = field(default_factory=list)


def score(
    config: ScoreConfig, *, progress: Progress = no_progress, stop: StopRequest | None = None
) -> Summary:
    """Label the headlines of `config.input` and publish them.

    Raises:
        FinsentError: anything expected that prevents it; see `errors` and the exit codes.
    """
    pairs = resolve_pairs(config)
    spec = open_model(config.model.model)
    with opened_run(config, spec, progress, stop or StopRequest()) as run:
        run.jobs = open_jobs(run, pairs)
        run.summary.output = str(config.output or pairs[0].output)
        if len(pairs) > 1 and config.output is None:
            run.summary.output = str(pairs[0].output.parent)
        return execute(run)


@contextmanager
def opened_run(
    config: ScoreConfig, spec: ModelSpec, progress: Progress, stop: StopRequest
) -> Iterator[Run]:
    """Open the store and settle device, arithmetic and fingerprint."""
    device = resolve_device(config.model.device)
    weights = resolve_weights(config.model.weights, device, int8_able=spec.int8_able)
    with Store.open(config.store) as store:
        hashes = FileHashes(store.connection)
        fingerprint = spec.fingerprint(weights, hashes)
        hashes.save()
        run_id = str(store.query("SELECT uuidv7()")[0][0])
        summary = Summary(
            run_id=run_id,
            input=config.input,
            model=config.model.model,
            model_fingerprint=fingerprint,
            device=device,
            weights=weights,
        )
        yield Run(
            config=config,
            store=store,
            spec=spec,
            device=device,
            weights=weights,
            fingerprint=fingerprint,
            summary=summary,
            progress=progress,
            stop=stop,
        )


def open_jobs(run: Run, pairs: list[Pair]) -> list[Job]:
    """Open every source and check every target, before any model is loaded."""
    jobs = []
    for pair in pairs:
        source, bad_rows = open_source(run.store, pair, run.config)
        column = choose_text_column(source.schema, run.config.text_column, pair.input)
        output_schema(source.schema, replace=run.config.replace_columns, where=str(pair.input))
        sink = open_sink(run.store, pair)
        check_target(run.store, sink, source, overwrite=run.config.overwrite)
        jobs.append(Job(source=source, sink=sink, text_column=column, bad_rows=bad_rows))
        if bad_rows:
            run.summary.warnings.append(
                f"{pair.input}: {len(bad_rows)} rows that do not parse are in quarantine, "
                f"not in the output; the first is line {bad_rows[0].line}"
            )
    return jobs


def execute(run: Run) -> Summary:
    """Run the three stages and keep the books, however it ends."""
    started = time.monotonic()
    _open_books(run)
    try:
        _run_stages(run)
        run.summary.status = "done"
        return run.summary
    except BaseException as error:
        failure = _as_expected(error, run.stop)
        run.summary.status = "interrupted" if run.stop() else "failed"
        run.summary.exit_code = getattr(failure, "exit_code", 1)
        if failure is error:
            raise
        raise failure from error
    finally:
        run.summary.seconds["total"] = round(time.monotonic() - started, 3)
        run.summary.measure_memory()
        _close_books(run)


def _run_stages(run: Run) -> None:
    def progress(stage: str, done: int, total: int | None) -> None:
        run.progress(stage, done, total)
        if run.stop() and stage != "score":
            raise run.stop.error()

    with timed(run.summary, "plan"):
        plan = make_plan(
            run.store, [(j.source, j.text_column) for j in run.jobs], run.fingerprint, progress
        )
    logger.info("planned: %d rows, %d to score", plan.rows, plan.pending)
    if plan.pending:
        with timed(run.summary, "load_model"):
            scorer = load_scorer(run.spec, run.device, run.weights, run.config)
        run.summary.path = scorer.path
        with timed(run.summary, "score"):
            _score_pending(run, scorer, plan, progress)
        if run.stop():
            raise run.stop.error()
    with timed(run.summary, "publish"):
        _publish(run, plan, progress)


def load_scorer(spec: ModelSpec, device: str, weights: str, config: ScoreConfig) -> Scorer:
    """Load the model; this is where torch is first imported."""
    from .scorers.encoder import EncoderScorer

    return EncoderScorer(
        spec,
        device=device,
        weights=weights,
        max_batch_tokens=config.model.max_batch_tokens,
    )


def _score_pending(run: Run, scorer: Scorer, plan: Plan, progress: Progress) -> None:
    commit = Commit(
        fingerprint=run.fingerprint,
        run_id=run.summary.run_id,
        store_text=run.config.store_text,
        every_seconds=run.config.commit_seconds,
    )
    begun = time.monotonic()
    scored = run_local(run.store, scorer, plan, commit, progress=progress, stop=run.stop)
    run.summary.rows["unique_scored"] = scored.headlines
    run.summary.tokens = scored.tokens
    run.summary.headlines_per_second = round(scored.headlines / (time.monotonic() - begun), 1)


def _publish(run: Run, plan: Plan, progress: Progress) -> None:
    rows, labels = run.summary.rows, run.summary.labels
    marks = [_mark(run, job) for job in run.jobs]
    sinks = [job.sink for job in run.jobs]
    for planned, sink, counts in publish(
        run.store, plan, sinks, marks, run.fingerprint, progress=progress
    ):
        rows["read"] += counts.rows
        for status, count in counts.status.items():
            rows[status] += count
        for label, count in counts.labels.items():
            labels[label] = labels.get(label, 0) + count
        run.summary.outputs.append(sink.path + (f"::{sink.table}" if sink.table else ""))
        run.store.insert(
            "run_files",
            {
                "run_id": run.summary.run_id,
                "input": planned.source.path,
                "input_table": planned.source.table,
                "output": sink.path,
                "output_table": sink.table,
                "rows": counts.rows,
                "published_at": utc_now(),
            },
        )
    rows["reused"] = rows["scored"] + rows["truncated"] - rows["unique_scored"]
    _quarantine(run)


def _mark(run: Run, job: Job) -> Mark:
    return {
        "version": __version__,
        "input": job.source.path,
        "input_table": job.source.table,
        "run_id": run.summary.run_id,
        "model": run.summary.model,
        "model_fingerprint": run.fingerprint,
    }


def _quarantine(run: Run) -> None:
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


def _open_books(run: Run) -> None:
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


def _close_books(run: Run) -> None:
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
        logger.warning("the end of this run could not be recorded: %s", first_line(error))


def _as_expected(error: BaseException, stop: StopRequest) -> BaseException:
    """Turn what a stop request or a full disk looks like down in DuckDB into what it is."""
    if isinstance(error, FinsentError):
        return error
    if stop():
        return stop.error()
    text = str(error)
    if isinstance(error, duckdb.Error | OSError) and (
        "No space left" in text or "failed to offload" in text or "Could not write" in text
    ):
        return StorageError(
            f"the disk is full ({first_line(error)}): make room and run the same command again; "
            "what was committed is kept"
        )
    return error


@contextmanager
def timed(summary: Summary, stage: str) -> Iterator[None]:
    """Add the block's seconds to a stage."""
    begun = time.monotonic()
    try:
        yield
    finally:
        summary.seconds[stage] = round(summary.seconds[stage] + time.monotonic() - begun, 3)
