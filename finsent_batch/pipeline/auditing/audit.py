"""The audit between scoring and publishing: what would be published is measured and judged.

Nothing is written to an output before this has passed. The figures come from the plan and the
scores alone, so that a run that was killed in between decides alike when it is run again.
"""

import hashlib
import json
from dataclasses import asdict, replace
from typing import Final

from ...config import DEFAULT_GATES, ScoreConfig
from ...errors import BadDataError, GateFailedError
from ...metrics.figures import FIGURES
from ...metrics.gates import Gate, GateResult, check_gate, failures, metric_value, parse_gate
from ...store.nights import HELD, PUBLISHED, Night
from ..plan import Plan
from ..run import ScoreRun
from ..run_record import quarantine
from .figures import measure
from .night import add_night, keep_night

_ENOUGH_ROWS: Final = 100
"""Of fewer rows a share says little: one bad row of ten is no bad feed."""


def gates_of(config: ScoreConfig, rows: int = _ENOUGH_ROWS) -> list[Gate]:
    """Return the gates that a run must pass: those named, and the defaults on other figures.

    A trial, of `--limit` rows, is held against those named alone; a run of few `rows` against
    no default share.

    Raises:
        UsageError: a gate does not parse, or there is no such figure.
    """
    named = [parse_gate(text, ", ".join(FIGURES)) for text in config.gates]
    for gate in named:
        metric_value(gate.metric, dict.fromkeys(FIGURES))
    if config.publish_anyway is not None:
        return []
    if not config.default_gates or config.limit is not None:
        return named
    taken = {gate.metric for gate in named}
    defaults = [parse_gate(text, "") for text in DEFAULT_GATES]
    if rows < _ENOUGH_ROWS:
        defaults = [gate for gate in defaults if not gate.metric.endswith("_share")]
    return [*(gate for gate in defaults if gate.metric not in taken), *named]


def audit(run: ScoreRun, plan: Plan) -> Night:
    """Measure what a run would publish and hold it against the run's gates; return its night.

    Raises:
        GateFailedError: a gate does not hold; no output has been touched.
        BadDataError: what was held back is to be published, and is not there any more.
    """
    _check_held(run, plan)
    counts = measure(run, plan)
    night = add_night(run, counts)
    run.summary.figures = counts.figures
    gates = gates_of(run.config, plan.rows)
    results = [_checked(run, gate, counts.figures) for gate in gates]
    run.summary.gates = [asdict(result) for result in results]
    _warn_of_unchecked(run, results)
    if failed := failures(results):
        counts.note(run.summary)
        quarantine(run)
        keep_night(run, replace(night, status=HELD, reason=failed))
        raise GateFailedError(
            f"gate failed: {failed}; {run.summary.output} was not touched and the scores are kept: "
            f"publish them with finsent-batch score --publish-anyway {run.summary.run_id}, or run "
            "again with another --gate"
        )
    return replace(night, status=PUBLISHED)


def _checked(run: ScoreRun, gate: Gate, figures: dict[str, float | None]) -> GateResult:
    """Hold a gate against the figures; one on a number of things names them where it fails."""
    result, night = check_gate(gate, figures), run.summary.night or {}
    named = {
        "alarms": [f"{name} {figures[name]:.4g}" for name in night["unusual"]],
        "missing_sources": [s["source"] for s in night["sources"] if not s["rows"]],
        **{f"columns_{kind}": names for kind, names in night["columns"].items()},
    }.get(gate.metric, [])
    if result.holds is not False or not named:
        return result
    return replace(result, reason=f"{result.reason} ({', '.join(named[:10])})")


def _warn_of_unchecked(run: ScoreRun, results: list[GateResult]) -> None:
    named = {str(parse_gate(text, "")) for text in run.config.gates}
    run.summary.warnings += [r.reason for r in results if r.holds is None and r.gate in named]


def content_of(run: ScoreRun, plan: Plan) -> str:
    """Digest what a run's gates judged: inputs, headlines, times and first rows."""
    inputs = [
        [
            planned.source.path,
            planned.source.table,
            planned.digest.hex(),
            asdict(task.times.counts) if task.times else None,
        ]
        for task, planned in zip(run.tasks, plan.sources, strict=True)
    ]
    said = json.dumps([inputs, run.config.limit], default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _check_held(run: ScoreRun, plan: Plan) -> None:
    """Refuse to publish anything but what was held back."""
    run.summary.content = content_of(run, plan)
    held = run.config.publish_anyway
    if held is None:
        return
    [judged] = run.store.query(
        "SELECT json_extract_string(summary, '$.content'), model_fingerprint FROM runs "
        "WHERE run_id = ?",
        [held],
    )
    if judged != (run.summary.content, run.fingerprint):
        raise BadDataError(
            f"--publish-anyway {held}: the input or the model changed since that run was held "
            "back: score it again"
        )
