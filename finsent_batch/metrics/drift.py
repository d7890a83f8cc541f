"""Measure how far a distribution has moved from an earlier one."""

from collections.abc import Sequence
from typing import Final

import numpy as np

_SMALLEST_SHARE: Final = 1e-4
_CHANCE: Final = 0.95


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


def jensen_shannon(counts: Sequence[int], baseline: Sequence[int]) -> float | None:
    """Return the Jensen–Shannon divergence of two histograms over the same bins, in bits, 0 to 1.

    The mean of both sides' Kullback–Leibler divergence from their average; symmetric, and
    finite where a bin is empty. None where one of the two counts nothing.
    Source: Lin 1991, "Divergence measures based on the Shannon entropy".
    """
    if not sum(counts) or not sum(baseline):
        return None
    p, q = (np.asarray(side, dtype=np.float64) / sum(side) for side in (counts, baseline))
    middle = (p + q) / 2
    found = sum(
        float((side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum())
        for side in (p, q)
    )
    return max(0.0, found / 2)
