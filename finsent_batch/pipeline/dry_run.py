"""Estimate what a run would do and how long it would take, without doing it."""

import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..config import ScoreConfig
from ..io.inputs import resolve_inputs
from ..io.object_store import check_addresses
from ..io.pairs import FilePair
from ..models.directory import open_configured
from ..models.registry import resolve_promoted_model
from ..models.weight_files import FileHashes
from ..progress import Progress, no_progress
from ..scorers.base import Scorer
from ..scorers.load import load_scorer
from ..store.store import Store
from .auditing.audit import gates_of
from .auditing.held import settings_of_held
from .plan import Plan, make_plan
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
    check_addresses(config)
    with resolve_inputs(config, lambda done, total: progress("copy", done, total, "MB")) as pairs:
        return _estimate(config, pairs, progress)


def _estimate(config: ScoreConfig, pairs: list[FilePair], progress: Progress) -> DryRun:
    with tempfile.TemporaryDirectory() as scratch, _open_store(config, Path(scratch)) as store:
        settled = resolve_promoted_model(config.model, store)
        model = open_configured(settled).resolve(settled, FileHashes(store.connection))
        settings = replace(config, model=settled)
        wanted = to_be_scored(store, pairs, settings, model.fingerprint)
        tasks = open_tasks(store, wanted, config)
        sources = [(task.source, task.text_column) for task in tasks]
        plan = make_plan(store, sources, model.fingerprint, progress)
        rows = store.query(
            "SELECT headlines_per_second FROM runs WHERE model_fingerprint = ? AND device = ? "
            "AND unique_scored >= ? ORDER BY started_at DESC LIMIT 1",
            [model.fingerprint, model.device, _SAMPLE],
        )
        rate, rate_from, tokens = None, "nothing to score", 0
        if plan.pending:
            scorer = load_scorer(model)
            sample = _sample(store, _TOKEN_SAMPLE)
            tokens = round(scorer.count_tokens(sample) * plan.pending / len(sample))
            rate, rate_from = rows[0][0] if rows else None, "the latest run with this model"
            if rate is None:
                rate, rate_from = _measure(scorer, _sample(store, _SAMPLE)), "measured on a sample"
    return _report(config, len(wanted), len(pairs) - len(wanted), plan, tokens, rate, rate_from)


def _open_store(config: ScoreConfig, scratch: Path) -> Store:
    """Open the store for reading, or an empty one in `scratch` if there is none yet."""
    if config.store.path.exists():
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
    files: int,
    unchanged: int,
    plan: Plan,
    tokens: int,
    rate: float | None,
    rate_from: str,
) -> DryRun:
    seconds = round(plan.pending / rate, 1) if rate else None
    return DryRun(
        input=shown_inputs(config),
        files=files,
        unchanged=unchanged,
        rows=plan.rows,
        distinct=plan.distinct,
        already_scored=plan.distinct - plan.pending,
        to_score=plan.pending,
        tokens=tokens,
        headlines_per_second=rate,
        rate_from=rate_from,
        estimated_seconds=seconds if plan.pending else 0.0,
    )
