"""Histograms of scores and confidences with fixed edges."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ..labels import LABELS

CONFIDENCE_EDGES: Final = tuple(round(0.3 + 0.05 * i, 2) for i in range(15))
"""The highest of three probabilities, from 1/3 to 1, in steps of 0.05."""
SCORE_EDGES: Final = tuple(round(-1 + 0.1 * i, 1) for i in range(21))
"""P(positive) − P(negative) in steps of 0.1."""


Numbers = npt.NDArray[np.floating]


def histogram(values: Numbers, edges: Sequence[float]) -> list[int]:
    """Count finite values in equal bins; what lies outside counts with the outermost bins.

    A value on an edge belongs to the bin above it, the last edge to the last bin.
    Returns one count fewer than there are edges.
    """
    last = len(edges) - 2
    width = (edges[-1] - edges[0]) / (last + 1)
    # Single precision has 0.95 a little below 0.95: such a value is on the edge, too.
    bins = np.floor((values[np.isfinite(values)] - edges[0]) / width + 1e-4).astype(np.int64)
    counts = np.bincount(np.clip(bins, 0, last), minlength=last + 1)
    return [int(count) for count in counts]


def histograms_of(probabilities: Numbers) -> dict[str, list[int]]:
    """Return the histograms of `confidence` and `sentiment_score` of rows in `LABELS`' order.

    `probabilities` has shape (n, 3); rows with NaN count nowhere.
    """
    score = probabilities[:, LABELS.index("positive")] - probabilities[:, LABELS.index("negative")]
    # Column by column: ten times as fast as the maximum of each row of three.
    confidence = np.maximum.reduce([probabilities[:, i] for i in range(len(LABELS))])
    return {
        "confidence": histogram(confidence, CONFIDENCE_EDGES),
        "sentiment_score": histogram(score, SCORE_EDGES),
    }


def add_histograms(total: dict[str, list[int]], more: Mapping[str, Sequence[int]]) -> None:
    """Add counts to `total` in place, histogram by histogram and bin by bin."""
    for name, counts in more.items():
        before = total.get(name, [0] * len(counts))
        total[name] = [one + other for one, other in zip(before, counts, strict=True)]
