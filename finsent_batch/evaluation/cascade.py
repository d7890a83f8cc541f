"""A smaller model before the one that is evaluated: how sure it must be to answer for it."""

from dataclasses import asdict
from typing import Any

import polars as pl

from ..arrays import FloatArray, IntArray
from ..config import EvaluateConfig, ModelConfig
from ..metrics.cascade import cascade_figures, choose_threshold
from ..metrics.classification import predict
from ..models.registry import check_first, open_first
from ..models.spec import ResolvedModel
from ..models.weight_files import FileHashes
from ..progress import Progress
from .predict import predict_headlines


def resolve_first(
    config: EvaluateConfig, model: ModelConfig, second: ResolvedModel
) -> ResolvedModel | None:
    """Find the model that is asked first, if one is named.

    Raises:
        ConfigError: the two are no cascade; see `check_first`.
        FinsentError: as `open_model`.
    """
    if config.first is None:
        return None
    settings, spec = open_first(model, config.first)
    first = spec.resolve(settings, FileHashes())
    check_first(first, second)
    return first


def evaluate_first(
    first: ResolvedModel,
    frame: pl.DataFrame,
    truth: IntArray,
    second: FloatArray,
    agreement: float,
    progress: Progress,
) -> tuple[dict[str, Any], FloatArray]:
    """Return the figures of the cascade at every threshold, and what the first model says.

    `second` are the other model's probabilities, of shape (n, 3). `sure` is the threshold to
    take, None where none will do.
    """
    found = predict_headlines(first, frame["headline"].to_list(), progress)
    figures = cascade_figures(truth, found.probabilities, second)
    chosen = choose_threshold(figures, agreement)
    return {
        "first": found.model,
        "first_fingerprint": found.model_fingerprint,
        "first_weights": found.weights,
        "first_accuracy": float((predict(found.probabilities) == truth).mean()),
        "agreement": agreement,
        "sure": None if chosen is None else chosen.sure,
        "thresholds": [asdict(f) for f in figures],
    }, found.probabilities
