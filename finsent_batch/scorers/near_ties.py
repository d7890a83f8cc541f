"""Answers that coarser arithmetic could have turned: the two best labels are nearly equal."""

from typing import Final

import numpy as np

from . import FloatArray

NEAR_TIE: Final = {"int8": 0.1, "fp8": 0.01}
"""Margins by `--weights` below which a headline is scored again in finer arithmetic.

Measured by benchmarks/mini_throughput.py and benchmarks/llama_quality.py.
"""


def margin(probabilities: FloatArray) -> FloatArray:
    """Return best minus second best, (n,), for probabilities (n, 3); 0 where there is no number."""
    best = np.sort(np.nan_to_num(probabilities), axis=1)
    result: FloatArray = best[:, 2] - best[:, 1]
    return result
