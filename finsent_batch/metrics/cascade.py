"""What a cascade of two classifiers answers, by how sure the first must be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..arrays import FloatArray, IntArray
from .classification import predict
from .paired import mcnemar

THRESHOLDS: Final = (*(i / 100 for i in range(34, 100)), 0.995, 0.999, 1.0)
ALPHA: Final = 0.05
"""The p-value below which McNemar's test calls a cascade worse than one of its models."""


@dataclass(frozen=True, kw_only=True)
class CascadeFigures:
    """What a cascade answers at one threshold."""

    sure: float
    first_share: float
    """Share of the rows that the first model answers."""
    agreement: float
    """Share of the rows whose label is the second model's."""
    accuracy: float
    p_value: float
    """McNemar's, against the model that alone is right more often."""
    worse: bool
    """Whether the cascade is right less often than that one, and not by chance."""


def cascade_figures(
    truth: IntArray, first: FloatArray, second: FloatArray, thresholds: Sequence[float] = THRESHOLDS
) -> list[CascadeFigures]:
    """Return the figures at each threshold for labelled rows of shape (n,) and (n, 3) twice.

    A row without a number from the first model is the second's.
    """
    labels = [predict(first), predict(second)]
    better = max(labels[::-1], key=lambda found: float((found == truth).mean()))
    found = []
    for sure in thresholds:
        # Single precision, as scores are kept.
        taken = first.max(axis=1) >= np.float32(sure)
        answers = np.where(taken, labels[0], labels[1])
        test = mcnemar(truth, answers, better)
        found.append(
            CascadeFigures(
                sure=sure,
                first_share=float(taken.mean()),
                agreement=float((answers == labels[1]).mean()),
                accuracy=float((answers == truth).mean()),
                p_value=test["p_value"],
                worse=test["only_one"] < test["only_other"] and test["p_value"] < ALPHA,
            )
        )
    return found


def choose_threshold(figures: Sequence[CascadeFigures], agreement: float) -> CascadeFigures | None:
    """Return the lowest threshold with this agreement that is not worse than the better model."""
    return next((f for f in figures if f.agreement >= agreement and not f.worse), None)
