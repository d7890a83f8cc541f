"""Run `score`: plan, score what is missing, publish."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..config import DEFAULT_MODEL, PROMOTED_MODEL, ScoreConfig
from ..errors import FinsentError, GateFailedError
from ..io.duckdb_errors import as_expected
from ..io.inputs import resolve_inputs
from ..io.object_store import check_addresses
from ..io.objects.addresses import shown
from ..io.pairs import FilePair, to_standard_output
from ..io.paths import STANDARD_STREAM
from ..io.times.reading import check_time_reading
from ..io.whole.protected import FileTakenError
from ..models.directory import open_configured
from ..models.license import license_of
from ..models.registry import open_first, resolve_promoted_first, resolve_promoted_model
from ..models.weight_files import FileHashes
from ..progress import Progress, StopRequest, no_progress
from ..store.nights import HELD
from ..store.store import Store
from .auditing.audit import audit, gates_of
from .auditing.held import settings_of_held
from .auditing.night import keep_night, time_of_night
from .cascade import check_cascade, note_cascade, resolve_cascade, score_in_turn
from .notifications import check_metrics_file, check_notify_command, send_notifications
from .plan import make_plan
from .publish_stage import publish_tasks
from .run import ScoreRun
from .run_record import record_run_end, record_run_start
from .score_stage import load_ahead, score_pending, timed
from .settle_stage import settle_tasks
from .summary import Summary, shown_inputs, summary_of_failure
from .tasks import open_tasks
from .unchanged import to_be_scored

logger = logging.getLogger(__name__)


def score(
    config: ScoreConfig, *, progress: Progress = no_progress, stop: StopRequest | None = None
) -> Summary:
    """Label the headlines of `config.input` and publish them.

    Raises:
        GateFailedError: all is scored, and a gate does not hold: nothing was published.
        FinsentError: anything expected that prevents it; see `errors` and the exit codes.
    """
    if config.publish_anyway is not None:
        config = settings_of_held(config)
    check_addresses(config)
    check_notify_command(config)
    check_time_reading(config.date_format, config.timezone)
    gates_of(config)
    check_cascade(config)
    time_of_night(config)
    stop = stop or StopRequest()
    try:
        summary = _score(config, progress, stop)
    except BaseException as error:
        expected = as_expected(error, stop)
        if isinstance(expected, FileTakenError):
            config = replace(config, metrics_file=None)
        send_notifications(config, summary_of_failure(config, expected))
        if expected is error:
            raise
        raise expected from error
    send_notifications(config, summary)
    return summary


def _score(config: ScoreConfig, progress: Progress, stop: StopRequest) -> Summary:
    def copied(done: int, total: int) -> None:
        progress("copy", done, total, "MB")
        stop.check()

    left_out: list[str] = []
    with resolve_inputs(config, copied, left_out) as pairs:
        return _score_pairs(config, pairs, left_out, progress, stop)


def _score_pairs(
    config: ScoreConfig,
    pairs: list[FilePair],
    left_out: list[str],
    progress: Progress,
    stop: StopRequest,
) -> Summary:
    check_metrics_file(config, pairs)
    with open_run(config, progress, stop) as run:
        wanted = to_be_scored(run.store, pairs, run.config, run.fingerprint)
        empty: list[str] = []
        run.tasks = open_tasks(run.store, wanted, config, inputs=len(pairs), empty=empty)
        told = [warning for task in run.tasks for warning in task.warnings]
        run.summary.warnings += dict.fromkeys(told)
        unchanged = len(pairs) - len(wanted)
        run.summary.note_files(len(run.tasks), left_out, unchanged=unchanged, empty=empty)
        run.summary.output = _named_output(config, pairs)
        return execute(run)


def _named_output(config: ScoreConfig, pairs: list[FilePair]) -> str:
    """Return what the run's output is called: a file, or the folder that holds them all."""
    if to_standard_output(config):
        return STANDARD_STREAM
    if len(pairs) == 1 or config.output is not None:
        return shown(config.output or pairs[0].output)
    return os.path.commonpath([pair.output.parent for pair in pairs]) or "."


@contextmanager
def open_run(config: ScoreConfig, progress: Progress, stop: StopRequest) -> Iterator[ScoreRun]:
    """Open the store, and resolve the model with what it knows."""
    progress("open", 0, None)
    promoted = config.model.model == PROMOTED_MODEL
    # A model that is named is looked for before anybody waits for a store.
    spec = None if promoted else open_configured(config.model)
    first = None
    if config.first is not None and config.first != PROMOTED_MODEL:
        first = open_first(config.model, config.first)
    with Store.open(config.store, waiting=stop.check) as store:
        config = replace(config, model=resolve_promoted_model(config.model, store))
        hashes = FileHashes(store.connection)
        model = (spec or open_configured(config.model)).resolve(config.model, hashes)
        cascade = None
        if config.first is not None:
            name = resolve_promoted_first(config.first, store)
            first = first or open_first(config.model, name)
            cascade = resolve_cascade(config, model, *first, store=store, hashes=hashes)
            config = replace(config, first=name, sure=cascade.sure)
        hashes.save()
        logger.debug(
            "store %s, model %s in %s on %s, fingerprint %s",
            store.path, config.model.model, model.weights, model.device, model.fingerprint,
        )  # fmt: skip
        run_id = str(store.query("SELECT uuidv7()")[0][0])
        summary = Summary(
            run_id=run_id,
            input=shown_inputs(config),
            model=config.model.model,
            promoted=promoted and config.model.model != DEFAULT_MODEL,
            model_fingerprint=model.fingerprint,
            license=license_of(model.spec.folder),
            device=model.device,
            weights=model.weights,
            limit=config.limit,
            published_anyway=config.publish_anyway,
            warnings=model.spec.notes,
        )
        run = ScoreRun(
            config=config,
            store=store,
            model=model,
            summary=summary,
            progress=progress,
            stop=stop,
            cascade=cascade,
        )
        note_cascade(run)
        yield run


def execute(run: ScoreRun) -> Summary:
    """Run the three stages and record in the store how that ended."""
    started = time.monotonic()
    record_run_start(run)
    try:
        _run_stages(run)
        run.summary.status = "done"
        return run.summary
    except BaseException as error:
        run.summary.status = "interrupted" if run.stop() else "failed"
        if isinstance(error, GateFailedError):
            run.summary.status = HELD
        expected = as_expected(error, run.stop)
        run.summary.exit_code = getattr(expected, "exit_code", 1)
        if isinstance(expected, FinsentError):
            expected.summary = run.summary
            run.summary.error = str(expected)
        if expected is error:
            del expected  # a cycle through this frame would keep files open until collected
            raise
        raise expected from error
    finally:
        run.summary.seconds["total"] = round(time.monotonic() - started, 3)
        run.summary.measure_memory()
        record_run_end(run)


def _run_stages(run: ScoreRun) -> None:
    def progress(stage: str, done: int, total: int | None, note: str = "") -> None:
        run.progress(stage, done, total)
        if stage != "score":
            run.stop.check()

    if not run.tasks:
        return  # every input is published already
    load_ahead(run)
    with timed(run.summary, "plan"):
        plan = make_plan(
            run.store,
            [(j.source, j.text_column) for j in run.tasks],
            run.models[-1].fingerprint,
            progress,
            [j.source_column for j in run.tasks],
        )
        settle_tasks(run)
    run.log("plan", "planned", rows=plan.rows, to_score=plan.pending)
    run.stop.check()
    if run.cascade is not None:
        score_in_turn(run, plan, progress)
        run.stop.check()
    elif plan.pending:
        score_pending(run, plan, progress)
        run.log("score", "scored", headlines=run.summary.rows["unique_scored"])
        run.stop.check()
    with timed(run.summary, "publish"):
        night = audit(run, plan)
        publish_tasks(run, plan, progress)
        keep_night(run, night)
    run.log("publish", "published", **run.summary.rows)
