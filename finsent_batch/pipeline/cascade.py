"""The cascade: a small model answers what it is sure of, the run's own model the rest.

Each model's scores are kept under its own fingerprint, those that are not published too: neither
is asked for a headline twice, whatever the threshold of the next run is.
"""

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from ..config import AUTO, LEAST_SURE, ModelConfig, ScoreConfig, StoreConfig
from ..errors import ConfigError, UsageError
from ..io.sql import quote_literal
from ..models.license import license_of
from ..models.registry import check_first
from ..models.spec import ModelSpec, ResolvedModel
from ..models.weight_files import FileHashes
from ..progress import Progress
from ..store.store import Store
from .plan import Plan, plan_pending, scores_sql
from .run import Cascade, ScoreRun
from .score_stage import score_pending, timed
from .summary import Summary

_FOUND: Final = """
    SELECT metrics->'cascade' FROM evaluations
    WHERE model_fingerprint = $1 AND metrics->>'$.cascade.first_fingerprint' = $2
    ORDER BY evaluated_at DESC LIMIT 1"""


def check_cascade(config: ScoreConfig) -> None:
    """Refuse a threshold without a model that it is for, or that says nothing.

    Raises:
        UsageError: `sure` is given without `first`, or is no number from 0.34 to 1.
    """
    sure = config.sure
    if sure is None:
        return
    if config.first is None:
        raise UsageError("--sure is how sure the first model must be: name one with --first")
    if sure != AUTO and not (isinstance(sure, float) and LEAST_SURE <= sure <= 1):
        raise UsageError(
            f"--sure {sure}: give a probability from {LEAST_SURE} to 1, or {AUTO} for the one "
            "that an evaluation found"
        )


def resolve_cascade(
    config: ScoreConfig,
    second: ResolvedModel,
    settings: ModelConfig,
    spec: ModelSpec,
    *,
    store: Store,
    hashes: FileHashes,
) -> Cascade:
    """Settle how the first model runs, and how sure it must be.

    Raises:
        ConfigError: the two are no cascade, or no evaluation says how sure the first must be.
        FinsentError: as `ModelSpec.resolve`.
    """
    first = spec.resolve(settings, hashes)
    check_first(first, second)
    sure, given = config.sure, isinstance(config.sure, float)
    if not isinstance(sure, float):
        sure = _found_sure(config, store, first, second)
    identity = json.dumps({"cascade": [first.fingerprint, second.fingerprint], "sure": sure})
    return Cascade(
        config=settings,
        model=first,
        sure=sure,
        sure_from="given" if given else "evaluation",
        fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:32],
    )


def _evaluate_command(config: ScoreConfig, first: ResolvedModel, second: ResolvedModel) -> str:
    """Return the command that finds the threshold of these two models, for this store."""
    model = config.model
    given = [
        ("--model", second.spec.name),
        ("--first", first.spec.name),
        ("--base", model.base),
        ("--prompt", model.prompt),
        ("--quantisation", model.quantisation),
        *(("--model-labels", "=".join(pair)) for pair in model.model_labels),
        ("--device", model.device if model.device != AUTO else None),
        ("--weights", model.weights if model.weights != AUTO else None),
        ("--store", str(config.store.path) if config.store.path != StoreConfig.path else None),
    ]
    options = (f"{name} {shlex.quote(value)}" for name, value in given if value is not None)
    return f"finsent-batch evaluate {' '.join(options)} --data LABELLED -o FOLDER"


def _found_sure(
    config: ScoreConfig, store: Store, first: ResolvedModel, second: ResolvedModel
) -> float:
    rows = store.query(_FOUND, [second.fingerprint, first.fingerprint])
    if not rows:
        raise ConfigError(
            f"--sure {AUTO}: no evaluation in {store.path} says how sure {first.spec.name} must "
            f"be: run {_evaluate_command(config, first, second)}, or give --sure a number"
        )
    found = json.loads(rows[0][0])
    if found["sure"] is None:
        raise ConfigError(
            f"--sure {AUTO}: the latest evaluation found no threshold at which {first.spec.name} "
            f"may answer for {second.spec.name}: give --sure a number, or leave --first out"
        )
    return float(found["sure"])


def note_cascade(run: ScoreRun) -> None:
    """Put into the summary which models a run asks in turn."""
    cascade, summary = run.cascade, run.summary
    if cascade is None:
        return
    first, second = cascade.model, run.model
    summary.cascade = {
        "first": first.spec.name,
        "first_fingerprint": first.fingerprint,
        "second": second.spec.name,
        "second_fingerprint": second.fingerprint,
        "sure": cascade.sure,
        "sure_from": cascade.sure_from,
        **dict.fromkeys(("first_scored", "second_scored", "first_rows", "second_rows"), 0),
    }
    summary.model = f"{first.spec.name} where {cascade.sure:g} sure, else {second.spec.name}"
    summary.model_fingerprint = cascade.fingerprint
    summary.warnings = [*first.spec.notes, *summary.warnings]
    licenses = (license_of(model.spec.folder) for model in (first, second))
    summary.license = ", ".join(dict.fromkeys(filter(None, licenses))) or None


def score_in_turn(run: ScoreRun, plan: Plan, progress: Progress) -> None:
    """Score what a plan for the first model left pending, then with the run's own the rest.

    Either model is loaded only where there is something for it to score.

    Raises:
        FinsentError: as `score_pending`.
    """
    cascade = run.cascade
    assert cascade is not None
    if plan.pending:
        settings = replace(run.config, model=cascade.config)
        part = _part(run, config=settings, model=cascade.model, scorer=run.first_scorer)
        _score(run, part, plan, progress, "first")
        run.first_scorer = part.scorer
        # Who stops the run here is told what it has scored; `_count_answers` counts anew.
        run.summary.rows["unique_scored"] = part.summary.rows["unique_scored"]
        run.stop.check()
    with timed(run.summary, "plan"):
        plan_unsure(run.store, [model.fingerprint for model in run.models], cascade.sure)
        plan = plan_pending(run.store, plan, run.model.fingerprint, "plan.unsure")
    run.log("plan", "planned what the first model is not sure of", to_score=plan.pending)
    if plan.pending:
        part = _part(run)
        _score(run, part, plan, progress, "second")
        run.scorer = part.scorer
    _count_answers(run)


def plan_unsure(store: Store, fingerprints: Sequence[str], sure: float) -> None:
    """Collect the headlines for the run's own model, and say whose scores are the answers.

    `fingerprints` are of the run's own model and of the first. A headline that the first gave no
    numbers for is one that it is not sure of.
    """
    own, first = fingerprints
    of_first = f"model_fingerprint = {quote_literal(first)}"
    # Single precision on both sides: a probability that prints as the bound reaches it.
    taken = f"greatest(p_negative, p_neutral, p_positive) >= CAST({sure!r} AS FLOAT)"
    store.connection.execute(f"""
        DELETE FROM plan.invalid;
        CREATE OR REPLACE TABLE plan.unsure AS
        SELECT headline_key, first_place FROM plan.keys WHERE headline_key NOT IN
            (SELECT headline_key FROM scores WHERE {of_first} AND {taken});
        CREATE OR REPLACE VIEW plan.answers AS
        {scores_sql(first, 1)} AND {taken}
        UNION ALL {scores_sql(own)}
            AND headline_key IN (SELECT headline_key FROM plan.unsure)""")


def _part(run: ScoreRun, **changes: Any) -> ScoreRun:
    """Return a run of one model alone, with a summary of its own."""
    return replace(run, cascade=None, summary=Summary(run_id=run.summary.run_id), **changes)


def _score(run: ScoreRun, part: ScoreRun, plan: Plan, progress: Progress, which: str) -> None:
    """Score with one of the models, and add to the run's summary what that was."""
    summary, done = run.summary, part.summary
    try:
        score_pending(part, plan, progress)
    finally:
        for stage, seconds in done.seconds.items():
            summary.seconds[stage] = round(summary.seconds[stage] + seconds, 3)
        assert summary.cascade is not None
        summary.cascade[f"{which}_scored"] = done.rows["unique_scored"]
        summary.tokens += done.tokens
        summary.engine, summary.batching, summary.actors = done.engine, done.batching, done.actors
        if done.peak_vram_mb is not None:
            summary.peak_vram_mb = max(done.peak_vram_mb, summary.peak_vram_mb or 0.0)
    run.log("score", f"scored with the {which} model", headlines=done.rows["unique_scored"])


def _count_answers(run: ScoreRun) -> None:
    """Count the rows that each model answers, and the headlines whose answers are new."""
    summary = run.summary
    assert summary.cascade is not None
    found = run.store.query(
        """SELECT answered_by, sum(rows), count(*) FILTER (run_id = $1)
        FROM plan.keys JOIN plan.answers USING (headline_key) GROUP BY answered_by""",
        [summary.run_id],
    )
    for number, rows, _ in found:
        summary.cascade["first_rows" if number else "second_rows"] = int(rows)
    summary.rows["unique_scored"] = new = sum(count for _, _, count in found)
    if new:
        rate = new / max(summary.seconds["score"], 1e-3)
        summary.headlines_per_second = round(rate, 1)
