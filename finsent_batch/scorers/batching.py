"""Run texts through a model in batches of nearly equal length: what both families share.

`batches_within_memory` keeps each batch under a budget of tokens and makes smaller ones after
the device ran out of memory; `score_with_fallback` scores near-ties again in finer arithmetic.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ..arrays import FloatArray, IntArray
from ..errors import UnavailableError
from ..labels import LABELS
from .base import ScoredBatch, Tokenized

logger = logging.getLogger(__name__)

Run = Callable[[IntArray], Iterator[tuple[IntArray, FloatArray]]]
"""Scores the texts at some positions: yields positions and probabilities, a batch at a time."""


def score_with_fallback(
    tokenized: Tokenized, sizes: IntArray, fast: Run, precise: Run | None, margin: float
) -> Iterator[ScoredBatch]:
    """Score all texts, longest first; near-ties come last, from `precise`.

    A near-tie is a text whose best label leads by less than `margin`, or that got no number.
    Without `precise` every text keeps its first answer. `sizes`, shape (n,), are the tokens read,
    text by text.
    """

    def answer(batch: IntArray, probabilities: FloatArray) -> ScoredBatch:
        return ScoredBatch(
            positions=batch,
            probabilities=probabilities,
            truncated=tokenized.truncated[batch],
            tokens=int(sizes[batch].sum()),
        )

    again: list[IntArray] = []
    for batch, probabilities in fast(np.arange(len(sizes), dtype=np.int64)):
        if precise is None:
            yield answer(batch, probabilities)
            continue
        sure = lead(probabilities) >= margin
        again.append(batch[~sure])
        yield answer(batch[sure], probabilities[sure])
    if precise is not None and again:
        for batch, probabilities in precise(np.concatenate(again)):
            yield answer(batch, probabilities)


def lead(probabilities: FloatArray) -> FloatArray:
    """Return best minus second best, (n,), for probabilities (n, 3); 0 where there is no number."""
    best = np.sort(np.nan_to_num(probabilities), axis=1)
    result: FloatArray = best[:, 2] - best[:, 1]
    return result


class TokenBudget:
    """How many tokens a batch may have: fewer after one that memory did not hold."""

    def __init__(self, tokens: int, device: str) -> None:
        self.tokens = tokens
        self.device = device

    def halve(self, tried: Sequence[int], remedy: str) -> None:
        """Take half, or half of a batch of texts of so many tokens that was tried.

        Raises:
            UnavailableError: it was one text; the error names `remedy`.
        """
        if len(tried) == 1:
            raise UnavailableError(
                f"one headline of {tried[0]} tokens does not fit into the memory of {self.device} "
                f"beside the model: {remedy}"
            )
        self.tokens = max(1, min(self.tokens, sum(tried)) // 2)
        logger.warning(
            "out of memory: continuing with batches of %d tokens (--max-batch-tokens)", self.tokens
        )
        if self.device == "cuda":
            torch.cuda.empty_cache()


def batches_within_memory(
    chosen: IntArray,
    sizes: IntArray,
    budget: TokenBudget,
    launch: Callable[[IntArray], torch.Tensor],
    finish: Callable[[IntArray, torch.Tensor], FloatArray],
    *,
    remedy: str,
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield positions and probabilities of the `chosen` texts, a batch at a time, longest first.

    `launch` starts a batch and returns what is still on the device, `finish` turns that into
    probabilities. On CUDA the next batch is launched before the last one is finished. A batch
    that does not fit into memory is cut in half, and all later ones with it.

    Raises:
        UnavailableError: one text alone does not fit; the error names `remedy`.
    """
    waiting = deque(chosen_batches(chosen, sizes, budget))
    launched: deque[tuple[IntArray, torch.Tensor]] = deque()
    while waiting or launched:
        if waiting:
            batch = waiting.popleft()
            result = _unless_out_of_memory(launch, batch)
            if result is None:
                budget.halve(sizes[batch].tolist(), remedy)
                waiting = deque(chosen_batches(np.concatenate([batch, *waiting]), sizes, budget))
                continue
            launched.append((batch, result))
            if budget.device == "cuda" and waiting and len(launched) < 2:
                continue  # the GPU works on one batch while the next is prepared
        batch, result = launched.popleft()
        yield batch, finish(batch, result)


def all_probabilities(run: Run, count: int) -> FloatArray:
    """Return what `run` gives for `count` texts, in their order, (count, 3)."""
    found = np.empty((count, len(LABELS)), dtype=np.float32)
    for batch, probabilities in run(np.arange(count, dtype=np.int64)):
        found[batch] = probabilities
    return found


def _unless_out_of_memory(
    launch: Callable[[IntArray], torch.Tensor], batch: IntArray
) -> torch.Tensor | None:
    """Return what `launch` does, or None where memory does not hold the batch.

    The error ends here: its traceback would keep the batch's tensors alive.
    """
    try:
        return launch(batch)
    except torch.OutOfMemoryError:
        return None


def chosen_batches(chosen: IntArray, sizes: IntArray, budget: TokenBudget) -> Iterator[IntArray]:
    """Yield the `chosen` positions in batches within the budget as it is now."""
    return (chosen[b] for b in length_sorted_batches(sizes[chosen], budget.tokens))


def length_sorted_batches(lengths: IntArray | Sequence[int], max_tokens: int) -> Iterator[IntArray]:
    """Yield index arrays that cover `lengths` once, longest first.

    A batch's padded size, its count times its longest length, stays within `max_tokens`; a
    single text longer than that makes a batch of its own.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        count = max(1, max_tokens // max(1, int(lengths[int(order[start])])))
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
