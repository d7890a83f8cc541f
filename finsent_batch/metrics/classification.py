"""Figures of a classifier: pure functions over labels and probabilities.

Everywhere: `truth` are indices into `LABELS`, shape (n,), int64; `predicted`
likewise with -1 for a missing prediction, which counts as wrong and never as a
label; `probabilities` have shape (n, 3), float32, NaN rows where missing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ..arrays import FloatArray, IntArray
from ..labels import LABELS

MISSING = -1
ECE_BINS = 15


def predict(probabilities: FloatArray) -> IntArray:
    """Return the index of the most probable label, or MISSING where there is no number.

    Ties go to the first label in order, as in published tables.
    """
    finite = np.asarray(np.isfinite(probabilities).all(axis=1))
    best = np.argmax(np.where(finite[:, None], probabilities, 0), axis=1)
    return np.where(finite, best, MISSING).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The predictions whose confidence lies in (low, high]."""

    low: float
    high: float
    rows: int
    confidence: float
    """Mean confidence."""
    accuracy: float


def notes_on(truth: IntArray) -> list[str]:
    """Say which classes have no rows, shape (n,): their recall is no measure of a model."""
    lacking = [label for i, label in enumerate(LABELS) if not (truth == i).any()]
    if not lacking:
        return []
    return [
        f"no row is labelled {' or '.join(lacking)}: macro F1 counts each class without rows as 0"
    ]


def reliability(
    truth: IntArray, predicted: IntArray, probabilities: FloatArray, bins: int = ECE_BINS
) -> list[ReliabilityBin]:
    """Return accuracy beside confidence over equal-width bins of confidence, empty ones left out.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks". Missing
    predictions are left out.
    """
    there = predicted != MISSING
    confidence = probabilities[there].max(axis=1, initial=0)
    correct = (predicted == truth)[there]
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        ReliabilityBin(
            low=float(b / bins),
            high=float((b + 1) / bins),
            rows=int((which == b).sum()),
            confidence=float(confidence[which == b].mean()),
            accuracy=float(correct[which == b].mean()),
        )
        for b in np.unique(which)
    ]


def expected_calibration_error(
    truth: IntArray, predicted: IntArray, probabilities: FloatArray, bins: int = ECE_BINS
) -> float:
    """Return the mean gap between confidence and accuracy over the bins of `reliability`.

    Source: Guo et al. 2017.
    """
    found = reliability(truth, predicted, probabilities, bins)
    rows = sum(b.rows for b in found)
    return sum(b.rows * abs(b.accuracy - b.confidence) for b in found) / max(1, rows)


def accuracy_by_coverage(
    truth: IntArray, probabilities: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return threshold, coverage and accuracy when rows below a confidence are left open.

    One entry for each confidence that occurs, highest first: the share of all rows at or
    above it, and the share of those that are right. Rows without a prediction are never
    covered. Source: El-Yaniv and Wiener 2010, "On the Foundations of Noise-free
    Selective Classification".
    """
    predicted = predict(probabilities)
    there = predicted != MISSING
    confidence = probabilities[there].max(axis=1, initial=0).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    confidence, correct = confidence[order], (predicted == truth)[there][order]
    # Rows of equal confidence stand or fall together.
    last = np.append(confidence[1:] != confidence[:-1], True) if len(confidence) else there[:0]
    covered = np.arange(1, len(confidence) + 1)
    accuracy = np.cumsum(correct) / covered
    return confidence[last], covered[last] / max(1, len(truth)), accuracy[last]


def evaluate_predictions(truth: IntArray, probabilities: FloatArray) -> dict[str, Any]:
    """Return `n`, `labels`, `accuracy`, `macro_f1`, `weighted_f1`, `ece`, `missing`,
    `per_class` and `confusion` of predictions against the truth.

    `per_class[label]` has precision, recall, f1, support and accuracy (the share of
    the class's rows that got it right, which is its recall: the tutorial prints it
    under that name). `confusion[i][j]` counts rows of label i called j; a fourth
    column counts those without a prediction.
    """
    predicted = predict(probabilities)
    indices = list(range(len(LABELS)))
    if len(truth):
        precision, recall, f1, support = precision_recall_fscore_support(
            truth, predicted, labels=indices, zero_division=0
        )
        matrix = confusion_matrix(truth, predicted, labels=[*indices, MISSING])[: len(LABELS)]
    else:  # scikit-learn refuses to count nothing
        precision = recall = f1 = support = np.zeros(len(LABELS))
        matrix = np.zeros((len(LABELS), len(LABELS) + 1), dtype=np.int64)
    total = max(1, int(support.sum()))
    return {
        "n": len(truth),
        "labels": list(LABELS),
        "accuracy": float((predicted == truth).mean()) if len(truth) else 0.0,
        "macro_f1": float(f1.mean()),
        "weighted_f1": float((f1 * support).sum() / total),
        "ece": expected_calibration_error(truth, predicted, probabilities),
        "missing": int((predicted == MISSING).sum()),
        "per_class": {
            label: {
                "accuracy": float(recall[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, label in enumerate(LABELS)
        },
        "confusion": matrix.tolist(),
    }


def fit_temperature(logits: npt.NDArray[np.float64], truth: IntArray) -> float:
    """Return the temperature that minimises the negative log-likelihood on held-out rows.

    `logits` has shape (n, 3). Source: Guo et al. 2017. Between 0.05 and 20.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        picked = scaled[np.arange(len(truth)), truth]
        return float((np.log(np.exp(scaled).sum(axis=1)) - picked).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
