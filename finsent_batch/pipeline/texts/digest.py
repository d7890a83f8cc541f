"""A digest of a source's headlines: what was planned is what is published."""

import hashlib
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...arrays import to_arrow, to_numpy

_NULL: Final = -1
_UNDECODABLE: Final = to_arrow(np.array([-2]))[0]


class TextDigest:
    """A running digest of texts in their order, the same however they come in batches.

    It stands for their keys: equal digests are equal texts in equal rows, and it costs a
    pass over the bytes instead of a normal form and a SHA-256 a row. SHA-256, because processors
    have instructions for it: twice as fast as BLAKE2b with them.
    """

    def __init__(self) -> None:
        self._lengths = hashlib.sha256()
        self._bytes = hashlib.sha256()

    def add(self, text: pa.Array, undecodable: pa.Array) -> None:
        """Add a batch; `text` is large_string, `undecodable` bool, of equal length."""
        lengths = pc.if_else(undecodable, _UNDECODABLE, pc.binary_length(text))
        self._lengths.update(to_numpy(lengths, _NULL).tobytes())
        held = text.drop_null() if text.null_count else text
        if len(held):
            _, offsets, content = held.buffers()
            ends = np.frombuffer(offsets, np.int64)[held.offset : held.offset + len(held) + 1]
            if content is not None:
                self._bytes.update(content[int(ends[0]) : int(ends[-1])])

    def value(self) -> bytes:
        """Return the digest of all texts so far, 64 bytes."""
        return self._lengths.digest() + self._bytes.digest()
