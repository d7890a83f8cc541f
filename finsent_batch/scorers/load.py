"""Which scorer a model needs."""

from ..config import ModelConfig
from ..models.contents import ModelState
from ..models.spec import CLASSIFIER, ModelSpec
from ..optional_imports import quiet_bitsandbytes
from .base import Scorer


def load_scorer(spec: ModelSpec, device: str, weights: str, config: ModelConfig) -> Scorer:
    """Load the model; this is where torch is first imported.

    Raises:
        FinsentError: the model cannot be loaded or does not fit together.
    """
    quiet_bitsandbytes()
    if spec.family == CLASSIFIER:
        from .encoder.scorer import EncoderScorer

        return EncoderScorer(
            spec, device=device, weights=weights, max_batch_tokens=config.max_batch_tokens
        )
    from .causal.scorer import LabelTokenScorer

    return LabelTokenScorer(
        spec, device=device, weights=weights, max_batch_tokens=config.max_batch_tokens
    )


def load_unchanged(
    spec: ModelSpec, device: str, weights: str, config: ModelConfig, files: ModelState
) -> Scorer:
    """Load the model whose `files` were hashed, as `spec.state()` gave them before that.

    Raises:
        TryAgainError: they are no longer those.
        FinsentError: as `load_scorer`.
    """
    try:
        return load_scorer(spec, device, weights, config)
    finally:
        spec.check_unchanged(files)  # also where half of another model cannot be loaded
