"""Shares of samples with their intervals: pure functions."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from .histograms import Numbers

_Z: Final = 1.959963984540054
"""Deviations of a normal distribution within which 95 % lie."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share estimated from a sample, with its 95 % interval."""

    share: float
    low: float
    high: float


def wilson(share: float, rows: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of so many rows, more than 0 and not always whole.

    Source: Wilson 1927.
    """
    middle = (share + _Z**2 / (2 * rows)) / (1 + _Z**2 / rows)
    reach = _Z * (share * (1 - share) / rows + _Z**2 / (4 * rows**2)) ** 0.5 / (1 + _Z**2 / rows)
    # All right or all wrong, rounding would put the share itself outside.
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))


def weighted_share(values: Numbers, weights: Numbers) -> Share:
    """Estimate the mean of `values`, each 0 to 1, in the population that a sample was drawn from.

    `weights` are the inverse of the probabilities with which the rows were drawn; both have
    shape (n,), n > 0. The estimator is Hájek's (1971), the weighted mean. The interval is
    Wilson's over Kish's effective number of rows (1965), (Σw)² / Σw², as Franco et al. (2019,
    "Comparative study of confidence intervals for proportions in complex sample surveys")
    recommend. What stratification gains is not counted, so it rather is too wide.
    """
    total = float(weights.sum())
    share = min(1.0, max(0.0, float(np.dot(values, weights)) / total))
    low, high = wilson(share, total**2 / float(np.dot(weights, weights)))
    return Share(share=share, low=low, high=high)
