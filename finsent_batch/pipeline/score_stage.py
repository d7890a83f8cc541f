"""The middle stage of a run: choose the engine, load the model, score what is missing."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import BadDataError, UnavailableError
from ..failpoints import failpoint
from ..hardware import gpu_count
from ..models.directory import portable
from ..models.registry import keep_near_tie, near_tie
from ..progress import Progress
from ..scorers.base import Scorer
from ..scorers.load import import_ahead, load_scorer
from .engines.base import CommitSettings, EngineResult
from .engines.local import run_local
from .engines.ray import run_ray
from .engines.ray_actor import ActorConfig
from .engines.ray_cluster import INSTALL, ray_installed
from .plan import Plan
from .run import ScoreRun
from .summary import Summary

logger = logging.getLogger(__name__)

_TELLING = 10
"""If this many headlines fail and none succeeds, blame the model; if fewer, ask it another."""


def score_pending(run: ScoreRun, plan: Plan, progress: Progress) -> None:
    """Score what the plan left pending and put what that was into the summary.

    Raises:
        BadDataError: the model gives no numbers, for no headline at all.
        FinsentError: the model cannot be loaded, or the engine is not available.
    """
    commit = CommitSettings(
        fingerprint=run.model.fingerprint,
        run_id=run.summary.run_id,
        store_text=run.config.store_text,
        every_seconds=run.config.commit_seconds,
        check=run.model.check_unchanged,
    )
    summary = run.summary
    summary.engine = choose_engine(run.config.engine, run.model.device, run.config.ray_address)
    scored = (_on_ray if summary.engine == "ray" else _here)(run, plan, commit, progress)
    summary.batching = scored.batching
    summary.actors = scored.actors
    summary.peak_vram_mb = scored.peak_vram_mb
    summary.rows["unique_scored"] = scored.headlines
    summary.tokens = scored.tokens
    summary.headlines_per_second = round(scored.headlines / max(summary.seconds["score"], 1e-3), 1)
    if not scored.headlines and (
        scored.invalid >= _TELLING or (scored.invalid and _is_mute(run.scorer))
    ):
        raise BadDataError(
            f"{run.config.model.model} gave no valid probabilities for any of "
            f"{scored.invalid} headlines: its weights are damaged, restore them; nothing was "
            "written"
        )


def _is_mute(scorer: Scorer | None) -> bool:
    """Return whether a model that was loaded here has no numbers for a plain headline either."""
    if scorer is None:
        return False
    [batch] = scorer.score(["Nordkap lifts its guidance"])
    return not bool((batch.probabilities >= 0).all())


def choose_engine(wanted: str, device: str, address: str | None = None) -> str:
    """Turn `auto` into `ray` or `local`.

    Ray it is where a cluster's address is given, or for several GPUs if Ray is installed.

    Raises:
        UnavailableError: `ray` was asked for and is not installed.
    """
    installed = ray_installed()
    if wanted == "auto" and address is not None:
        wanted = "ray"
    if wanted == "ray" and not installed:
        raise UnavailableError(f"--engine ray needs Ray: {INSTALL}")
    if wanted != "auto":
        return wanted
    gpus = gpu_count() if device == "cuda" else 0
    if gpus > 1 and not installed:
        logger.warning("%d GPUs, of which one is used; to use them all, %s", gpus, INSTALL)
    return "ray" if gpus > 1 and installed else "local"


def load_ahead(run: ScoreRun) -> None:
    """Begin, beside planning, what loads the model of a run on one GPU."""
    config, model = run.config, run.model
    if run.scorer is not None or model.device != "cuda":
        return
    alone = config.engine == "auto" and not config.ray_address and gpu_count() == 1
    if alone or config.engine == "local":
        import_ahead(model)


def _here(run: ScoreRun, plan: Plan, commit: CommitSettings, progress: Progress) -> EngineResult:
    if run.scorer is None:
        progress("load", 0, None)
        run.scorer = _load(run, plan.pending)
    scorer = run.scorer
    run.stop.check()
    run.summary.batching = scorer.batching
    with timed(run.summary, "score"):
        return run_local(run.store, scorer, plan, commit, progress=progress, stop=run.stop)


def _load(run: ScoreRun, expected: int) -> Scorer:
    """Load the model; what is measured of it while it loads is kept in the store."""
    with timed(run.summary, "load_model"):
        known = near_tie(run.store, run.model.fingerprint)
        scorer = load_scorer(run.model, near_tie=known, expected=expected)
        failpoint("load_model")
        if known is None and scorer.near_tie is not None:
            keep_near_tie(run.store, run.model.fingerprint, scorer.near_tie)
    return scorer


def _on_ray(run: ScoreRun, plan: Plan, commit: CommitSettings, progress: Progress) -> EngineResult:
    # Actors do not work in this process's folder.
    named = portable(run.config.model)
    known = near_tie(run.store, run.model.fingerprint)
    assignment = ActorConfig(
        config=named, model=run.model, cores=run.config.cpus_per_actor, near_tie=known
    )
    progress("load", 0, None)
    with timed(run.summary, "score"):
        scored = run_ray(
            run.store, assignment, plan, commit, run.config, progress=progress, stop=run.stop
        )
    if known is None and scored.near_tie is not None:
        keep_near_tie(run.store, run.model.fingerprint, scored.near_tie)
    seconds = run.summary.seconds
    seconds["load_model"] = round(scored.load_seconds, 3)
    seconds["score"] = round(seconds["score"] - scored.load_seconds, 3)
    return scored


@contextmanager
def timed(summary: Summary, stage: str) -> Iterator[None]:
    """Add the block's seconds to a stage."""
    begun = time.monotonic()
    try:
        yield
    finally:
        summary.seconds[stage] = round(summary.seconds[stage] + time.monotonic() - begun, 3)
