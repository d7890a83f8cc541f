"""Models that the runs of this process load once, as a `Scorer` keeps its model between frames.

Loading is a fifth of what scoring a few rows takes. The command as a process of its own, other
commands, and runs with any other model load as ever.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any


def keep_loaded(folders: Collection[Path]) -> None:
    """Let runs share what is loaded of the models in `folders`, which nobody changes."""
    from finsent_batch.models.spec import ResolvedModel
    from finsent_batch.pipeline import score_stage
    from finsent_batch.scorers.base import Scorer

    load: Callable[..., Scorer] = score_stage.load_scorer
    kept: dict[tuple[Any, ...], Scorer] = {}

    def load_once(
        model: ResolvedModel, *, near_tie: float | None = None, expected: int = 0
    ) -> Scorer:
        if model.spec.folder not in folders:
            return load(model, near_tie=near_tie, expected=expected)
        key = (model.fingerprint, model.device, model.weights, model.max_batch_tokens, near_tie)
        if key not in kept:
            kept[key] = load(model, near_tie=near_tie)
        model.check_unchanged()
        return kept[key]

    score_stage.load_scorer = load_once  # type: ignore[assignment]
