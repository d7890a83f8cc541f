"""Predict headlines with the scorer that `score` uses, without the store."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray
from ..failpoints import failpoint
from ..headlines import normalize
from ..labels import LABELS
from ..models.spec import ResolvedModel
from ..progress import Progress
from ..scorers.load import load_scorer


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One model's answers."""

    model: str
    model_fingerprint: str
    weights: str
    probabilities: FloatArray
    """Shape (n, 3), float32, in the order of the headlines; NaN rows where there is no answer."""


def predict_headlines(
    model: ResolvedModel, headlines: Sequence[str | None], progress: Progress
) -> Predictions:
    """Score headlines in the normal form that `score` uses.

    A blank headline has no prediction: scoring would not give it one either.

    Raises:
        TryAgainError: the model's files changed meanwhile.
        FinsentError: the model cannot be loaded.
    """
    progress("load", 0, None)
    scorer = load_scorer(model)
    failpoint("load_model")
    texts = normalize(headlines)
    probabilities = np.full((len(texts), len(LABELS)), np.nan, dtype=np.float32)
    filled = np.array([i for i, text in enumerate(texts) if text], dtype=np.int64)
    done = 0
    for batch in scorer.score([texts[i] for i in filled]):
        probabilities[filled[batch.positions]] = batch.probabilities
        done += len(batch.positions)
        progress("score", done, len(filled))
    model.check_unchanged()
    return Predictions(
        model=model.spec.name,
        model_fingerprint=model.fingerprint,
        weights=model.weights,
        probabilities=probabilities,
    )
