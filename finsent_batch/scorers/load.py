"""Load the scorer that a model needs."""

from contextlib import suppress
from importlib import import_module
from threading import Thread

from ..models.spec import CLASSIFIER, ResolvedModel
from ..optional_imports import IMPORTING, imports_beside, quick_imports, quiet_libraries
from .base import CHUNK, GPU_CHUNK, Scorer


def load_scorer(
    model: ResolvedModel, *, near_tie: float | None = None, expected: int = 0
) -> Scorer:
    """Load the model that was hashed; this is where torch is first imported.

    `near_tie` is the model's margin for near-ties where it was measured before; see `Scorer`.
    `expected` is how many texts it will score, where that is known.

    Raises:
        TryAgainError: its files are no longer those.
        FinsentError: it cannot be loaded or does not fit together.
    """
    try:
        return _load(model, near_tie, expected)
    finally:
        model.check_unchanged()  # also where half of another model cannot be loaded


def import_ahead(model: ResolvedModel) -> None:
    """Import, in a thread, what loading the model on a GPU takes.

    That takes seconds, and planning leaves most cores of such a machine idle.
    """
    if model.device == "cuda":
        Thread(target=_import_for, args=[model.spec.family], name=IMPORTING).start()


def _import_for(family: str) -> None:
    # What fails here fails where the model is loaded, which says so.
    with suppress(Exception), imports_beside():
        name = "encoder" if family == CLASSIFIER else "causal"
        import_module(f"{__package__}.{name}.scorer")


def chunk_of(model: ResolvedModel) -> int:
    """Return the `chunk` of a model's scorer, without loading it."""
    small = model.spec.family == CLASSIFIER and model.device == "cuda"
    return GPU_CHUNK if small else CHUNK


def _load(model: ResolvedModel, near_tie: float | None, expected: int) -> Scorer:
    spec, device, weights = model.spec, model.device, model.weights
    budget = model.max_batch_tokens
    if spec.family == CLASSIFIER:
        with quick_imports():
            from .encoder.scorer import EncoderScorer

        return EncoderScorer(
            spec,
            device=device,
            weights=weights,
            max_batch_tokens=budget,
            near_tie=near_tie,
            expected=expected,
        )
    with quiet_libraries():
        with quick_imports():
            from .causal.scorer import LabelTokenScorer

        return LabelTokenScorer(
            spec, device=device, weights=weights, max_batch_tokens=budget, near_tie=near_tie
        )
