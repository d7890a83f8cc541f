"""What a model says of headlines at hand, through the scorer that `score` uses, store aside."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Floats
from ..config import ModelConfig
from ..failpoints import failpoint
from ..hardware import resolve_device
from ..headlines import normalise
from ..labels import LABELS
from ..models.spec import ModelSpec
from ..models.weight_files import FileHashes
from ..progress import Progress
from ..scorers.load import load_unchanged


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One model's answers."""

    model: str
    model_fingerprint: str
    weights: str
    probabilities: Floats
    """Shape (n, 3), float32, in the order of the headlines; NaN rows where there is no answer."""


def predict_headlines(
    config: ModelConfig, spec: ModelSpec, headlines: Sequence[str | None], progress: Progress
) -> Predictions:
    """Score headlines in the normal form that `score` uses; `config` says on what and how.

    A blank headline has no prediction: scoring would not give it one either.

    Raises:
        TryAgainError: the model's files changed meanwhile.
        FinsentError: the model cannot run so on this machine.
    """
    device = resolve_device(config.device)
    weights = spec.weights_for(config.weights, device)
    files = spec.state()
    fingerprint = spec.fingerprint(weights, FileHashes())
    scorer = load_unchanged(spec, device, weights, config, files)
    failpoint("load_model")
    texts = normalise(headlines)
    probabilities = np.full((len(texts), len(LABELS)), np.nan, dtype=np.float32)
    filled = np.array([i for i, text in enumerate(texts) if text], dtype=np.int64)
    done = 0
    for batch in scorer.score([texts[i] for i in filled]):
        probabilities[filled[batch.positions]] = batch.probabilities
        done += len(batch.positions)
        progress("score", done, len(filled))
    spec.check_unchanged(files)
    return Predictions(
        model=spec.name,
        model_fingerprint=fingerprint,
        weights=weights,
        probabilities=probabilities,
    )
