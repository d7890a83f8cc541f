"""Scores in memory, found by key: what SQL functions answer from, thousands of rows at a time.

How it works: keys are the first 128 bits of a SHA-256, spread evenly. They are ordered, and
a table says where the keys begin that share their first bits, up to 20: from there the place is a
step or two away. 28 bytes a score, and at most 8 MB for the table.
"""

from dataclasses import dataclass
from typing import Final, Self

import duckdb
import numpy as np
import pyarrow as pa

from ..labels import PROBABILITY_COLUMNS

_MOST_BITS: Final = 20
_LAST: Final = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class ScoreIndex:
    """The scores of n keys, ordered by key, and after them one that stands for none.

    `high` and `low`, shape (n + 1,), uint64: the halves of the keys. `probabilities`, shape
    (n + 1, 3), float32, in `LABELS`' order. `first`, shape (2**bits,), int64: the position from
    which on keys begin with these bits, or come after; `shift` is 64 - bits.
    """

    high: np.ndarray
    low: np.ndarray
    probabilities: np.ndarray
    first: np.ndarray
    shift: np.uint64

    @classmethod
    def of(cls, high: np.ndarray, low: np.ndarray, probabilities: np.ndarray) -> Self:
        """Index the halves of distinct keys, shape (n,), and their probabilities, shape (n, 3)."""
        order = np.argsort(high)
        ordered = high[order]
        if (ordered[1:] == ordered[:-1]).any():
            order = np.lexsort((low, high))
        ordered = np.append(high[order], _LAST)
        bits = min(len(high).bit_length() + 1, _MOST_BITS)
        shift = np.uint64(64 - bits)
        leading = np.arange(1 << bits, dtype=np.uint64) << shift
        none = np.full((1, 3), np.nan, np.float32)
        return cls(
            high=ordered,
            low=np.append(low[order], _LAST),
            probabilities=np.concatenate([probabilities[order], none]),
            first=np.searchsorted(ordered, leading),
            shift=shift,
        )

    @classmethod
    def empty(cls) -> Self:
        """Return an index of no score."""
        none = np.empty(0, np.uint64)
        return cls.of(none, none, np.empty((0, 3), np.float32))

    @classmethod
    def of_rows(cls, connection: duckdb.DuckDBPyConnection, sql: str, fingerprint: str) -> Self:
        """Index what a SELECT from a store gives for `$1`, a model: a key and its probabilities."""
        table = connection.sql(sql, params=[fingerprint]).to_arrow_table()
        columns = [table.column(name).to_numpy() for name in PROBABILITY_COLUMNS]
        return cls.of(*_halves(table.column("headline_key")), np.stack(columns, axis=1))

    def __len__(self) -> int:
        return len(self.high) - 1

    def find(self, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where keys are, shape (n,), and whether they are there at all, shape (n,)."""
        at = self.first[high >> self.shift]
        behind = np.arange(len(at))
        while len(behind):
            here, wanted = at[behind], high[behind]
            found = self.high[here]
            behind = behind[
                (here < len(self))
                & ((found < wanted) | ((found == wanted) & (self.low[here] < low[behind])))
            ]
            at[behind] += 1
        return at, (self.high[at] == high) & (self.low[at] == low) & (at < len(self))

    def joined(self, other: "ScoreIndex") -> "ScoreIndex":
        """Return an index of both; they have no key in common."""
        return ScoreIndex.of(
            np.concatenate([self.high[:-1], other.high[:-1]]),
            np.concatenate([self.low[:-1], other.low[:-1]]),
            np.concatenate([self.probabilities[:-1], other.probabilities[:-1]]),
        )


def _halves(keys: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last 64 bits of UUIDs."""
    parts = [np.empty((0, 2), np.uint64)]
    for chunk in keys.chunks:
        stored = chunk.storage
        words = np.frombuffer(stored.buffers()[1], ">u8").reshape(-1, 2)
        parts.append(words[stored.offset : stored.offset + len(stored)].astype(np.uint64))
    both = np.concatenate(parts)
    return both[:, 0], both[:, 1]
