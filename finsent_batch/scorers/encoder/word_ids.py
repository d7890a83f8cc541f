"""A text's ids from those of its words, each of which BERT's tokenizer sees once.

Whatever BERT's tokenizer does, it does within a word: it cleans, strips and lowercases character
by character, and cuts at every space before it looks up pieces. So the ids of a text are those of
what lies between its spaces, one after the other. News repeats its words: looking them up in a
dictionary takes a fraction of the time of tokenizing them again. Texts whose words do not repeat,
such as those made of identifiers, are tokenized whole. Only for tokenizers that are BERT's to the
letter (`plain_tokens`).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..base import Tokenized

_MOST_CHARACTERS = 1_500_000
"""Of the words kept, some 200,000 in 60 MB; then it begins anew. A Chinese text is one word.

Also of the words that may be new at once: more would take more time and memory than whole texts.
"""
_LONGEST = 2_000
"""Characters of a text from which its words are not worth keeping."""


def encoded_by(backend: Any, texts: Sequence[str]) -> Tokenized:
    """Return texts as the ids that a `tokenizers.Tokenizer` gives them, and which it cut."""
    encoded = backend.encode_batch_fast(list(texts))
    cut = np.fromiter((bool(e.overflowing) for e in encoded), np.bool_, len(encoded))
    return Tokenized.of([e.ids for e in encoded], cut)


class WordIds:
    """Encodes texts as a `tokenizers.Tokenizer` does that is BERT's and cuts at a length."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._known: dict[str, list[int]] = {}
        self._characters = 0
        self._begin, self._end = backend.encode("").ids
        self._length: int = backend.truncation["max_length"]

    def encode(self, texts: Sequence[str]) -> Tokenized:
        """Return the texts as ids, and which of them were cut."""
        short = [text.split(" ") if len(text) <= _LONGEST else [] for text in texts]
        words = self._with_words(set().union(*short))
        if words is None:
            return encoded_by(self._backend, texts)
        begin, end, length = [self._begin], [self._end], self._length
        rows = [[*begin, *chain.from_iterable(map(words.__getitem__, s)), *end] for s in short]
        cut = np.fromiter((len(row) > length for row in rows), np.bool_, len(rows))
        for i in np.flatnonzero(cut).tolist():
            rows[i][length - 1 :] = end
        long = [i for i, text in enumerate(texts) if len(text) > _LONGEST]
        whole = self._backend.encode_batch_fast([texts[i] for i in long])
        for i, found in zip(long, whole, strict=True):
            rows[i], cut[i] = found.ids, bool(found.overflowing)
        return Tokenized.of(rows, cut)

    def _with_words(self, wanted: set[str]) -> dict[str, list[int]] | None:
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
        for word, found in zip(new, self._backend.encode_batch_fast(new), strict=True):
            ids = found.ids[1:-1]
            # Of a word that was cut itself one id more, so that its text is cut, too.
            known[word] = [*ids, self._end] if found.overflowing else ids
        return known
