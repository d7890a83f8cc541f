"""The scorer protocol: texts in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np

if TYPE_CHECKING:  # they come with pyarrow, which a process that tokenizes does without
    from ..arrays import BoolArray, FloatArray, IdArray, IntArray

CHUNK: Final = 8_192
"""Headlines tokenized and sorted at a time. Planning has sorted all of them by their characters
already; this sorts by tokens within a chunk."""
GPU_CHUNK: Final = 8 * CHUNK
"""The same for a small model on a GPU: a chunk's end waits for it, which scores a small one in no
time."""


@dataclass(frozen=True, kw_only=True)
class ScoredBatch:
    """A scorer's probabilities for some of the texts it was given."""

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


@dataclass(frozen=True, kw_only=True)
class Tokenized:
    """Texts as token ids, ready to score: the ids of all texts end to end."""

    ids: IdArray
    """Shape (tokens,), int32."""
    sizes: IntArray
    """How many ids each text has, shape (n,), int64."""
    truncated: BoolArray
    """Whether only the beginning of the text is in its ids, shape (n,), bool."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], truncated: BoolArray) -> Self:
        """Return texts whose ids are given row by row."""
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.fromiter(chain.from_iterable(rows), np.int32, int(sizes.sum()))
        return cls(ids=ids, sizes=sizes, truncated=truncated)

    @cached_property
    def starts(self) -> IntArray:
        """Where each text's ids begin, shape (n,), int64."""
        ends: IntArray = np.cumsum(self.sizes)
        return ends - self.sizes

    def rows(self) -> list[list[int]]:
        """Return the ids row by row."""
        ids = self.ids.tolist()
        starts = self.starts.tolist()
        return [ids[a : a + n] for a, n in zip(starts, self.sizes.tolist(), strict=True)]

    def packed(self, texts: IntArray) -> IdArray:
        """Return some texts' ids end to end, (tokens,) int32; `texts`, (b,), are positions."""
        sizes = self.sizes[texts]
        ends = np.cumsum(sizes)
        # Small numbers: a GPU waits for this, and memory that is new takes most of the time.
        kind = np.int32 if max(len(self.ids), int(sizes.sum())) < 2**31 else np.int64
        # Each text's ids are a run: where it lies in `ids` is where it lies here, moved.
        places = np.repeat((self.starts[texts] - (ends - sizes)).astype(kind), sizes)
        places += np.arange(len(places), dtype=kind)
        found: IdArray = self.ids[places]
        return found

    def padded(self, texts: IntArray, padding: int) -> tuple[IntArray, IntArray]:
        """Return some texts' ids, right-padded to the longest, and their mask, (b, longest) int64.

        `texts`, shape (b,), are their positions.
        """
        columns = np.arange(self.sizes[texts].max(), dtype=np.int64)
        mask = columns < self.sizes[texts, None]
        ids = np.full(mask.shape, padding, dtype=np.int64)
        ids[mask] = self.ids[(self.starts[texts, None] + columns)[mask]]
        return ids, mask.astype(np.int64)


class Scorer(Protocol):
    """A loaded model. Answers do not depend on what else is in the batch or on its order."""

    device: str
    weights: str
    """The arithmetic in use: `fp32`, `bf16`, `int8`, `fp8` or `nf4`."""
    batching: str
    """How batches are run, named in the summary."""
    chunk: int
    """How many headlines are best tokenized and sorted at a time."""
    near_tie: float | None
    """The margin below which answers are scored again: int8's and packed bf16's of an encoder in
    fp32, fp8's of a causal model in bf16. None where no answers are."""

    def score(self, texts: Sequence[str]) -> Iterator[ScoredBatch]:
        """Score texts, in batches of the scorer's own making and order.

        Raises nothing for a text it cannot score: its probabilities are NaN.
        """
        ...

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        """Return what `score_tokenized` takes; safe in another thread while that runs."""
        ...

    def score_tokenized(self, tokenized: Tokenized) -> Iterator[ScoredBatch]:
        """Score what `tokenize` gave, as `score` does its texts."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return the tokens that scoring `texts` would read, padding apart."""
        ...
