"""Scorers: texts in, probabilities out. torch lives here and in training only."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

# Before transformers is imported: it would else fetch compiled code from the Hub and run it
# where the package `kernels` is installed.
os.environ["USE_HUB_KERNELS"] = "NO"

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ScoredBatch:
    """What a scorer says of some of the texts it was given."""

    positions: IntArray
    """Which texts: indices into the sequence given, shape (b,), int64."""
    probabilities: FloatArray
    """Calibrated, columns as in `LABELS`, rows sum to 1; NaN where the model gave no number.

    Shape (b, 3), float32.
    """
    truncated: BoolArray
    """Whether only the beginning of the text was read, shape (b,), bool."""
    tokens: int
    """Tokens read, without padding."""


class Scorer(Protocol):
    """A loaded model. Answers do not depend on what else is in the batch or on its order."""

    device: str
    weights: str
    """The arithmetic in use: `fp32`, `bf16` or `int8`."""
    path: str
    """How batches are run, named in the summary."""

    def score(self, texts: Sequence[str]) -> Iterator[ScoredBatch]:
        """Score texts, in batches of the scorer's own making and order.

        Raises nothing for a text it cannot score: its probabilities are NaN.
        """
        ...

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return the tokens that scoring `texts` would read, padding apart."""
        ...


LoadScorer = Callable[[], Scorer]
