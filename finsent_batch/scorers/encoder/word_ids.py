"""A text's ids from those of its words, each of which BERT's tokenizer sees once.

Whatever BERT's tokenizer does, it does within a word: it cleans, strips and lowercases character
by character, and cuts at every space before it looks up pieces. So the ids of a text are those of
what lies between its spaces, one after the other. News repeats its words: looking them up in a
dictionary takes a fraction of the time of tokenizing them again. Texts whose words do not repeat,
such as those made of identifiers, are tokenized whole. A new word of ASCII is cut into its pieces
here: that takes a fraction of the time of `tokenizers`, which says much else of it. Only for
tokenizers that are BERT's to the letter (`plain_tokens`).
"""

import re
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base import Tokenized

_MOST_CHARACTERS = 1_500_000
"""Of the words kept, some 200,000 in 60 MB; then it begins anew. A Chinese text is one word.

Also of the words that may be new at once: more would take more time and memory than whole texts.
"""
_LONGEST = 2_000
"""Characters of a text from which its words are not worth keeping."""
_ASCII_PARTS = re.compile("[A-Za-z0-9]+|[^A-Za-z0-9]")
"""What BERT makes of a printable word of ASCII: every other character is punctuation, and alone."""
_ID = np.dtype(np.intc)
_LONGEST_PART = 100
"""Characters from which a part is unknown as a whole."""


def encoded_by(backend: Any, texts: Sequence[str]) -> Tokenized:
    """Return texts as the ids that a `tokenizers.Tokenizer` gives them, and which it cut."""
    encoded = backend.encode_batch_fast(list(texts))
    cut = np.fromiter((bool(e.overflowing) for e in encoded), np.bool_, len(encoded))
    return Tokenized.of([e.ids for e in encoded], cut)


class WordIds:
    """Encodes texts as a `tokenizers.Tokenizer` does that is BERT's and cuts at a length."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        # The bytes of int32: to join those of a text's words is one call, and no garbage collection
        # looks into them.
        self._known: dict[str, bytes] = {}
        self._characters = 0
        self._begin, self._end = (_packed([i]) for i in backend.encode("").ids)
        self._length: int = backend.truncation["max_length"]
        self._lowercase: bool = backend.normalizer.lowercase
        self._vocabulary: dict[str, int] = backend.get_vocab()
        self._unknown = self._vocabulary["[UNK]"]
        self._longest_piece = max(map(len, self._vocabulary))

    def encode(self, texts: Sequence[str]) -> Tokenized:
        """Return the texts as ids, and which of them were cut."""
        short = [text.split(" ") if len(text) <= _LONGEST else [] for text in texts]
        words = self._with_words(set().union(*short))
        if words is None:
            return encoded_by(self._backend, texts)
        begin, end, join = self._begin, self._end, b"".join
        rows = [begin + join(map(words.__getitem__, s)) + end for s in short]
        sizes = np.fromiter(map(len, rows), np.int64, len(rows)) // _ID.itemsize
        cut = sizes > self._length
        for i in np.flatnonzero(cut).tolist():
            rows[i] = rows[i][: (self._length - 1) * _ID.itemsize] + end
        long = [i for i, text in enumerate(texts) if len(text) > _LONGEST]
        whole = self._backend.encode_batch_fast([texts[i] for i in long])
        for i, found in zip(long, whole, strict=True):
            rows[i], cut[i], sizes[i] = _packed(found.ids), bool(found.overflowing), len(found.ids)
        np.minimum(sizes, self._length, out=sizes)
        return Tokenized(ids=np.frombuffer(join(rows), _ID), sizes=sizes, truncated=cut)

    def _with_words(self, wanted: set[str]) -> dict[str, bytes] | None:
        """Return the ids of words, among them all that are wanted; None if too many are new."""
        if self._characters > _MOST_CHARACTERS:
            self._known, self._characters = {}, 0
        known = self._known  # another thread may begin anew meanwhile
        # Not `wanted - known.keys()`, which walks through all that are known.
        new = [word for word in wanted if word not in known]
        characters = sum(map(len, new))
        if characters > _MOST_CHARACTERS:
            return None
        self._characters += characters
        others = []
        for word in new:
            ids = self._ascii_ids(word)
            if ids is None:
                others.append(word)
            else:
                known[word] = _packed(ids)
        for word, found in zip(others, self._backend.encode_batch_fast(others), strict=True):
            # Of a word that was cut itself one id more, so that its text is cut, too.
            ids = found.ids[1:] if found.overflowing else found.ids[1:-1]
            known[word] = _packed(ids)
        return known

    def _ascii_ids(self, word: str) -> list[int] | None:
        """Return the ids of a word of ASCII; None of any other, or where it may be a token's name.

        Each part is the longest piece that the vocabulary has, and so is what is left of it.
        """
        if not (word.isascii() and word.isprintable()) or "[" in word:
            return None
        found = []
        for part in _ASCII_PARTS.findall(word.lower() if self._lowercase else word):
            number = self._vocabulary.get(part)
            found += self._pieces(part) if number is None else [number]
        return found

    def _pieces(self, part: str) -> list[int]:
        if len(part) > _LONGEST_PART:
            return [self._unknown]
        found: list[int] = []
        left, prefix = part, ""
        while left:
            for end in range(min(len(left), self._longest_piece), 0, -1):
                number = self._vocabulary.get(prefix + left[:end])
                if number is not None:
                    break
            else:
                return [self._unknown]
            found.append(number)
            left, prefix = left[end:], "##"
        return found


def _packed(ids: Sequence[int]) -> bytes:
    return array("i", ids).tobytes()
