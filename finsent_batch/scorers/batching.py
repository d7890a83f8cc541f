"""Batches of nearly equal length under a budget of tokens."""

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch

from ..arrays import FloatArray, IntArray
from ..errors import UnavailableError

logger = logging.getLogger(__name__)


class TokenBudget:
    """How many tokens a batch may have: fewer after one that memory did not hold."""

    def __init__(self, tokens: int, device: str) -> None:
        self.tokens = tokens
        self._device = device

    def halve(self, tried: Sequence[int], remedy: str) -> None:
        """Take half, or half of a batch of texts of so many tokens that was tried.

        Raises:
            UnavailableError: it was one text; the error names `remedy`.
        """
        if len(tried) == 1:
            raise UnavailableError(
                f"one headline of {tried[0]} tokens does not fit into the memory of {self._device} "
                f"beside the model: {remedy}"
            )
        self.tokens = max(1, min(self.tokens, sum(tried)) // 2)
        logger.warning(
            "out of memory: going on with batches of %d tokens (--max-batch-tokens)", self.tokens
        )
        if self._device == "cuda":
            torch.cuda.empty_cache()


def length_sorted_batches(
    lengths: Sequence[int], max_tokens: int, *, multiple: int = 1
) -> Iterator[IntArray]:
    """Yield index arrays that cover `lengths` once, longest first.

    A batch's padded size, its count times its longest length rounded up to
    `multiple`, stays within `max_tokens`; a single text longer than that makes a
    batch of its own.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        longest = -(-lengths[int(order[start])] // multiple) * multiple
        count = max(1, max_tokens // max(1, longest))
        yield order[start : start + count]
        start += count


def pad(rows: Sequence[Sequence[int]], padding: int) -> tuple[IntArray, IntArray]:
    """Return token ids right-padded to the longest row and their mask, both (n, longest) int64."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), padding, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


NEAR_TIE: Final = {"int8": 0.1, "fp8": 0.01}
"""Margins by `--weights` below which a headline is scored again in finer arithmetic.

Measured by benchmarks/mini_throughput.py and benchmarks/llama_quality.py.
"""


def margin(probabilities: FloatArray) -> FloatArray:
    """Return best minus second best, (n,), for probabilities (n, 3); 0 where there is no number."""
    best = np.sort(np.nan_to_num(probabilities), axis=1)
    result: FloatArray = best[:, 2] - best[:, 1]
    return result
