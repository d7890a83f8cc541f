"""Distributions of a run's scores, and how far two of them are apart.

Each run keeps its histograms in its summary, so that later runs can be compared
with it whether or not its output still exists.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from .labels import LABELS

CONFIDENCE_EDGES: Final = tuple(round(0.3 + 0.05 * i, 2) for i in range(15))
"""The highest of three probabilities, from 1/3 to 1, in steps of 0.05."""
SCORE_EDGES: Final = tuple(round(-1 + 0.1 * i, 1) for i in range(21))
"""P(positive) − P(negative) in steps of 0.1."""

_SMALLEST_SHARE: Final = 1e-4
_CHANCE: Final = 0.95

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
    return {
        "confidence": histogram(probabilities.max(axis=1), CONFIDENCE_EDGES),
        "sentiment_score": histogram(score, SCORE_EDGES),
    }


def add_histograms(total: dict[str, list[int]], more: Mapping[str, Sequence[int]]) -> None:
    """Add counts to `total` in place, histogram by histogram and bin by bin."""
    for name, counts in more.items():
        before = total.get(name, [0] * len(counts))
        total[name] = [one + other for one, other in zip(before, counts, strict=True)]


def population_stability_index(counts: Sequence[int], baseline: Sequence[int]) -> float | None:
    """Return the population stability index of two histograms over the same bins.

    Σ (p − q) ln(p / q) over the bins' shares, each at least 0.0001; None where one of
    the two counts nothing. Customary reading: below 0.1 alike, above 0.2 shifted.
    Source: Siddiqi 2006, "Credit Risk Scorecards".
    """
    if not sum(counts) or not sum(baseline):
        return None
    p, q = (
        np.maximum(np.asarray(side, dtype=np.float64) / sum(side), _SMALLEST_SHARE)
        for side in (counts, baseline)
    )
    return float(((p - q) * np.log(p / q)).sum())


def stability_by_chance(counts: Sequence[int], baseline: Sequence[int]) -> float | None:
    """Return the index that 95 of 100 samples of these sizes stay below without any drift.

    It approaches (1/n + 1/m) times the chi-squared quantile with a degree of freedom
    fewer than there are bins in use. Source: Yurdakul and Naranjo 2020, "Statistical
    properties of the population stability index".
    """
    from scipy.stats import chi2

    used = sum(1 for one, other in zip(counts, baseline, strict=True) if one or other)
    if not sum(counts) or not sum(baseline) or used < 2:
        return None
    return float(chi2.ppf(_CHANCE, used - 1) * (1 / sum(counts) + 1 / sum(baseline)))
