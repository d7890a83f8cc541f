"""Load the scorer that a model needs."""

from ..models.spec import CLASSIFIER, ResolvedModel
from ..optional_imports import quick_imports, quiet_libraries
from .base import Scorer


def load_scorer(model: ResolvedModel, *, near_tie: float | None = None) -> Scorer:
    """Load the model that was hashed; this is where torch is first imported.

    `near_tie` is the model's margin for near-ties where it was measured before; see `Scorer`.

    Raises:
        TryAgainError: its files are no longer those.
        FinsentError: it cannot be loaded or does not fit together.
    """
    try:
        return _load(model, near_tie)
    finally:
        model.check_unchanged()  # also where half of another model cannot be loaded


def _load(model: ResolvedModel, near_tie: float | None) -> Scorer:
    spec, device, weights = model.spec, model.device, model.weights
    budget = model.max_batch_tokens
    if spec.family == CLASSIFIER:
        with quick_imports():
            from .encoder.scorer import EncoderScorer

        return EncoderScorer(
            spec, device=device, weights=weights, max_batch_tokens=budget, near_tie=near_tie
        )
    with quiet_libraries():
        with quick_imports():
            from .causal.scorer import LabelTokenScorer

        return LabelTokenScorer(spec, device=device, weights=weights, max_batch_tokens=budget)
