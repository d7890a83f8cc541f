"""The record that the store keeps of a run: its start, its end, and what it quarantined."""

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from ..errors import first_line
from ..io.duckdb_append import input_name
from ..io.objects.addresses import shown
from ..models.spec import ResolvedModel
from ..store.store import Store, utc_now
from ..version import __version__
from .plan import IS_UNDECODABLE
from .run import ScoreRun

logger = logging.getLogger(__name__)

NEVER_RECORDED = ("notify_command",)
"""Settings in which a token may stand: a store is copied, exported and reported on."""


def record_run_start(run: ScoreRun) -> None:
    """Record in the store that the run has begun, with its settings."""
    # Only one run can hold the store: another still "running" was killed.
    run.store.connection.execute("UPDATE runs SET status = 'killed' WHERE status = 'running'")
    for model in run.models:
        _register(run.store, model)
    run.store.upsert(
        "runs",
        {
            "run_id": run.summary.run_id,
            "status": "running",
            "version": __version__,
            "started_at": run.store.after("runs", "started_at", utc_now()),
            "input": run.summary.input,
            "output": run.summary.output,
            "model": run.summary.model,
            "model_fingerprint": run.fingerprint,
            "device": run.model.device,
            "options": json.dumps(_options(run), default=str),
        },
    )


def _options(run: ScoreRun) -> dict[str, Any]:
    """Return a run's settings as they are recorded, without those that may hold a secret."""
    options = asdict(run.config) | {"folder": _working_folder(), "sources": source_marks(run)}
    if run.config.output is not None:
        options["output"] = shown(run.config.output)
    return options | {name: "given" for name in NEVER_RECORDED if options[name] is not None}


def source_marks(run: ScoreRun) -> list[str]:
    """Return a mark of each input, the same however its name is written, in less room."""
    names = [input_name(task.source.path, task.source.table) for task in run.tasks]
    return [
        hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16] for name in names
    ]


def _working_folder() -> str | None:
    """Return where relative paths of this run begin; None where the folder was removed."""
    with suppress(FileNotFoundError):
        return str(Path.cwd())
    return None


def _register(store: Store, model: ResolvedModel) -> None:
    known = "SELECT 1 FROM models WHERE model_fingerprint = ?"
    if store.query(known, [model.fingerprint]):
        return
    store.upsert(
        "models",
        {
            "model_fingerprint": model.fingerprint,
            "model": model.spec.name,
            "family": model.spec.family,
            "base": model.spec.base_id,
            "weights": model.weights,
            "path": str(model.spec.folder),
            "first_used_at": utc_now(),
            "details": json.dumps(model.spec.manifest),
        },
    )


def record_run_end(run: ScoreRun) -> None:
    """Record how the run ended, and its figures."""
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


def quarantine(run: ScoreRun) -> None:
    """Record what was not scored for a reason of its own: row, line and why."""
    now, run_id = utc_now(), run.summary.run_id
    for number, task in enumerate(run.tasks):
        run.store.connection.execute(
            f"""INSERT INTO quarantine
            SELECT $1, $2, row_number + 1, NULL, coalesce(reason, 'the text is not valid UTF-8'),
                NULL, $3::TIMESTAMP
            FROM plan.plan_rows LEFT JOIN plan.invalid USING (headline_key)
            WHERE file = $4 AND (state = {IS_UNDECODABLE} OR reason IS NOT NULL)""",
            [run_id, task.source.path, now, number],
        )
        run.store.connection.execute(
            """INSERT INTO quarantine SELECT $1, $2, row_number + 1, NULL, 'its time: ' || reason,
                CASE WHEN $5 THEN content END, $3::TIMESTAMP
            FROM plan.undated WHERE file = $4 ORDER BY row_number""",
            [run_id, task.source.path, now, number, run.config.store_text],
        )
        for bad in task.bad_rows:
            run.store.insert(
                "quarantine",
                {
                    "run_id": run_id,
                    "input": task.source.path,
                    "line_number": bad.line,
                    "reason": bad.reason,
                    "content": bad.text if run.config.store_text else None,
                    "recorded_at": now,
                },
            )
    [(run.summary.quarantined,)] = run.store.query(
        "SELECT count(*) FROM quarantine WHERE run_id = ?", [run_id]
    )
