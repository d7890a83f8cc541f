"""Estimate what a run would do and how long it would take, without doing it."""

import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import ScoreConfig
from ..io.inputs import resolve_inputs
from ..io.object_store import check_addresses
from ..io.pairs import FilePair
from ..models.directory import open_configured
from ..models.registry import (
    near_tie,
    open_first,
    resolve_promoted_first,
    resolve_promoted_model,
)
from ..models.spec import ResolvedModel
from ..models.weight_files import FileHashes
from ..progress import Progress, no_progress
from ..scorers.base import Scorer
from ..scorers.load import load_scorer
from ..store.store import Store
from .auditing.audit import gates_of
from .auditing.held import settings_of_held
from .cascade import check_cascade, plan_unsure, resolve_cascade
from .plan import Plan, make_plan, plan_pending
from .run import Cascade
from .summary import shown_inputs
from .tasks import open_tasks
from .unchanged import to_be_scored


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a run would do."""

    input: str
    files: int
    """Inputs that would be read."""
    unchanged: int
    """Inputs that would not, as they are published already; see `ScoreConfig.skip_unchanged`."""
    rows: int
    distinct: int
    already_scored: int
    to_score: int
    tokens: int
    """Estimated on a sample of the headlines to score where there are many."""
    headlines_per_second: float | None
    rate_from: str
    """What the rate was taken from."""
    estimated_seconds: float | None
    first: dict[str, Any] | None = None
    """With `--first`, in distinct headlines: `model` and `sure`, how many it `answers` already, of
    how many it is `unsure`, how many it has `to_score`, and how many the other model is then
    `expected` to score."""

    def to_json(self) -> str:
        """Return the estimate as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


# Enough for a rate within some ten per cent, at most seconds on a CPU.
_SAMPLE = 256
# Tokens are counted on this many of the headlines to score.
_TOKEN_SAMPLE = 8_192


def dry_run(config: ScoreConfig, *, progress: Progress = no_progress) -> DryRun:
    """Plan a run as `score` would, checks included, and estimate it.

    The rate is that of the latest run with this model, or else measured now on a
    sample of the headlines, whose scores are thrown away.

    Raises:
        FinsentError: whatever would stop the run before it scores.
    """
    if config.publish_anyway is not None:
        config = settings_of_held(config)
    gates_of(config)
    check_cascade(config)
    check_addresses(config)
    with resolve_inputs(config, lambda done, total: progress("copy", done, total, "MB")) as pairs:
        return _estimate(config, pairs, progress)


def _estimate(config: ScoreConfig, pairs: list[FilePair], progress: Progress) -> DryRun:
    with tempfile.TemporaryDirectory() as scratch, _open_store(config, Path(scratch)) as store:
        settled = resolve_promoted_model(config.model, store)
        hashes = FileHashes(store.connection)
        model = open_configured(settled).resolve(settled, hashes)
        settings, cascade = replace(config, model=settled), None
        if config.first is not None:
            first = open_first(settled, resolve_promoted_first(config.first, store))
            cascade = resolve_cascade(settings, model, *first, store=store, hashes=hashes)
        fingerprint = model.fingerprint if cascade is None else cascade.fingerprint
        wanted = to_be_scored(store, pairs, settings, fingerprint)
        tasks = open_tasks(store, wanted, config, inputs=len(pairs), empty=[])
        sources = [(task.source, task.text_column) for task in tasks]
        first_asked = model if cascade is None else cascade.model
        plan = make_plan(store, sources, first_asked.fingerprint, progress)
        files = len(tasks), len(pairs) - len(wanted)
        work = _work(store, first_asked, plan.pending)
        if cascade is None:
            return _report(config, files, plan, [work])
        plan, first_figures, rest = _rest(store, model, cascade, plan, work)
        return _report(config, files, plan, [work, rest], first_figures)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What one model would have to do."""

    headlines: int
    tokens: int = 0
    rate: float | None = None
    """Headlines a second."""
    rate_from: str = "nothing to score"
    scorer: Scorer | None = None


def _work(store: Store, model: ResolvedModel, headlines: int) -> _Work:
    """Estimate the work of scoring so many of the plan's pending headlines."""
    if not headlines:
        return _Work(headlines=0)
    rows = store.query(
        "SELECT headlines_per_second FROM runs WHERE model_fingerprint = ? AND device = ? "
        "AND unique_scored >= ? ORDER BY started_at DESC LIMIT 1",
        [model.fingerprint, model.device, _SAMPLE],
    )
    scorer = load_scorer(model, near_tie=near_tie(store, model.fingerprint))
    sample = _sample(store, _TOKEN_SAMPLE)
    tokens = round(scorer.count_tokens(sample) * headlines / len(sample))
    rate, rate_from = rows[0][0] if rows else None, "the latest run with this model"
    if rate is None:
        rate, rate_from = _measure(scorer, _sample(store, _SAMPLE)), "measured on a sample"
    return _Work(headlines=headlines, tokens=tokens, rate=rate, rate_from=rate_from, scorer=scorer)


def _rest(
    store: Store, model: ResolvedModel, cascade: Cascade, plan: Plan, first: _Work
) -> tuple[Plan, dict[str, Any], _Work]:
    """Estimate what a cascade's first model would leave to the other one.

    What it has scored is known; of the others the share that it is unsure of is that of a sample.
    Returns the plan of the headlines without an answer, the first model's figures, and the work.
    """
    share = 0.0
    if first.scorer is not None:
        sample = _sample(store, _SAMPLE)
        sures = np.concatenate([b.probabilities.max(axis=1) for b in first.scorer.score(sample)])
        share = 1 - float((sures >= np.float32(cascade.sure)).mean())
    plan_unsure(store, [model.fingerprint, cascade.model.fingerprint], cascade.sure)
    [(unsure, known)] = store.query(
        """SELECT count(*), count(*) FILTER (headline_key NOT IN
            (SELECT headline_key FROM scores WHERE model_fingerprint = $1))
        FROM plan.unsure WHERE headline_key IN
            (SELECT headline_key FROM scores WHERE model_fingerprint = $2)""",
        [model.fingerprint, cascade.model.fingerprint],
    )
    left = plan_pending(store, plan, model.fingerprint, "plan.unsure")
    expected = min(left.pending, known + round(share * plan.pending))
    figures = {
        "model": cascade.model.spec.name,
        "sure": cascade.sure,
        "answers": plan.distinct - plan.pending - unsure,
        "unsure": unsure,
        "to_score": plan.pending,
        "expected": expected,
    }
    return replace(plan, pending=plan.pending + known), figures, _work(store, model, expected)


def _open_store(config: ScoreConfig, scratch: Path) -> Store:
    """Open the store for reading, or an empty one in `scratch` if there is none yet."""
    if config.store.path.expanduser().exists():
        return Store.open(config.store, read_only=True)
    return Store.open(replace(config.store, path=scratch / "empty.duckdb"))


def _sample(store: Store, size: int) -> list[str]:
    sql = "SELECT headline FROM plan.pending USING SAMPLE reservoir(? ROWS) REPEATABLE (1)"
    return [row[0] for row in store.query(sql.replace("?", str(size)))]


def _measure(scorer: Scorer, sample: list[str]) -> float:
    list(scorer.score(sample[:16]))  # the first batch pays for warming up
    begun = time.monotonic()
    list(scorer.score(sample))
    return round(len(sample) / (time.monotonic() - begun), 1)


def _report(
    config: ScoreConfig,
    files: tuple[int, int],
    plan: Plan,
    works: list[_Work],
    first: dict[str, Any] | None = None,
) -> DryRun:
    busy = [work for work in works if work.headlines] or works[:1]
    last, seconds = busy[-1], None
    if all(work.rate or not work.headlines for work in busy):
        seconds = round(sum(work.headlines / (work.rate or 1) for work in busy), 1)
    return DryRun(
        input=shown_inputs(config),
        files=files[0],
        unchanged=files[1],
        rows=plan.rows,
        distinct=plan.distinct,
        already_scored=plan.distinct - plan.pending,
        to_score=plan.pending,
        tokens=sum(work.tokens for work in works),
        headlines_per_second=last.rate,
        rate_from=last.rate_from,
        estimated_seconds=seconds,
        first=first,
    )
