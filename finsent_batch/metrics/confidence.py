"""How often a label is right, from its probabilities: confidence-based performance estimation.

The mean of the highest probability is the expected accuracy of a calibrated model. A temperature
calibrates the three probabilities together; whether the first of them is right depends on the
distance to the second as well, and that carries over better from one feed to another.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from ..arrays import IntArray
from .histograms import Numbers

SPREAD: Final = 0.03
"""The standard deviation by which estimates of whole feeds are off beyond chance: those of three
labelled sets by either embedded model, each estimated from the other two, were off by 0.026
(`night_gates.py`)."""
CERTAINTY: Final = 1.96
"""Deviations of a normal distribution within which 95 % lie."""
_LEAST: Final = 1e-6
_STEPS: Final = 50


@dataclass(frozen=True, kw_only=True)
class ConfidenceFit:
    """The log odds that a label is right, linear in what its probabilities say."""

    intercept: float = 0.0
    logit: float = 1.0
    """Of the log odds of the highest probability."""
    margin: float = 0.0
    """Of the logarithm of the highest probability over the second."""
    rows: int = 0
    """The labelled rows it was fitted to; the default, of none, takes the probability itself."""

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> Self:
        """Return the fit that a model's manifest holds, else the default."""
        held = manifest.get("confidence_fit")
        names = ("intercept", "logit", "margin", "rows")
        if not isinstance(held, dict) or not all(
            isinstance(held.get(n), int | float) for n in names
        ):
            return cls()
        return cls(**{name: held[name] for name in names})

    @classmethod
    def fitted(cls, probabilities: Numbers, truth: IntArray) -> Self:
        """Fit to labelled rows of shape (n, 3) and (n,), by maximum likelihood."""
        x = np.column_stack([np.ones(len(truth)), *_features(probabilities)])
        right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
        weights = np.array([0.0, 1.0, 0.0])
        for _ in range(_STEPS):  # Newton's
            p = 1 / (1 + np.exp(-x @ weights))
            # A little ridge: the two features nearly coincide where the third class is unlikely.
            hessian = (x.T * (p * (1 - p))) @ x + 1e-3 * np.eye(3)
            weights = weights + np.linalg.solve(hessian, x.T @ (right - p))
        intercept, logit, margin = (round(float(w), 6) for w in weights)
        return cls(intercept=intercept, logit=logit, margin=margin, rows=len(truth))

    def right(self, probabilities: Numbers) -> Numbers:
        """Return the probability of each row's label to be right; takes shape (n, 3)."""
        logit, margin = _features(probabilities)
        odds = self.intercept + self.logit * logit + self.margin * margin
        return np.asarray(1 / (1 + np.exp(-odds)))

    def right_sql(self) -> str:
        """Return the same over `p_negative`, `p_neutral` and `p_positive`."""
        first = "CAST(greatest(p_negative, p_neutral, p_positive) AS DOUBLE)"
        last = "CAST(least(p_negative, p_neutral, p_positive) AS DOUBLE)"
        first = f"least(greatest({first}, {_LEAST}), {1 - _LEAST})"
        second = f"greatest(1 - {first} - {last}, {_LEAST})"
        return (
            f"1 / (1 + exp(-({self.intercept} + {self.logit} * ln({first} / (1 - {first})) "
            f"+ {self.margin} * ln({first} / {second}))))"
        )


def _features(probabilities: Numbers) -> tuple[Numbers, Numbers]:
    ordered = np.sort(probabilities.astype(np.float64), axis=1)
    first = np.clip(ordered[:, 2], _LEAST, 1 - _LEAST)
    second = np.maximum(1 - first - ordered[:, 0], _LEAST)
    return np.log(first / (1 - first)), np.log(first / second)


def reach_of(variance: float, rows: float) -> float:
    """Return half of the 95 % interval of an estimate over rows with this summed variance."""
    return float(CERTAINTY * np.hypot(np.sqrt(variance) / rows, SPREAD))
