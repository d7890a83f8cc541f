"""Calibrate a trained model on its validation rows and measure it on every held-out part."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import FloatArray, IntArray
from ..labelled.split_folders import Labelled
from ..labels import LABELS
from ..metrics.classification import evaluate_predictions, fit_temperature

Logits = Callable[[list[str]], FloatArray]
"""Logits of headlines in the order given, shape (n, 3), float32."""


def calibrate(logits_of: Logits, data: Labelled) -> tuple[float, dict[str, dict[str, Any]]]:
    """Fit one temperature on the validation rows of all folders, and measure each part with it.

    Returns the temperature, 1.0 where there are no validation rows, and the metrics by
    `split/folder`, such as `test/phrasebank`. Source: Guo et al. 2017.
    """
    parts: dict[str, tuple[FloatArray, IntArray]] = {}
    for split in ("valid", "test"):
        for folder, frame in data.folders(split).items():
            truth = np.array([LABELS.index(label) for label in frame["label"]], dtype=np.int64)
            parts[f"{split}/{folder}"] = logits_of(frame["headline"].to_list()), truth
    temperature = _temperature([part for name, part in parts.items() if name.startswith("valid/")])
    return temperature, {
        name: evaluate_predictions(truth, _softmax(logits / temperature))
        for name, (logits, truth) in parts.items()
    }


def _temperature(valid: list[tuple[FloatArray, IntArray]]) -> float:
    if not valid:
        return 1.0
    logits = np.concatenate([logits for logits, _ in valid]).astype(np.float64)
    return round(fit_temperature(logits, np.concatenate([truth for _, truth in valid])), 4)


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return result
