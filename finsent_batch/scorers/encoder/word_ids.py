"""A text's ids from those of its words, each of which BERT's tokenizer sees once.

Whatever BERT's tokenizer does, it does within a word: it cleans, strips and lowercases character
by character, and cuts at every space before it looks up pieces. So the ids of a text are those of
what lies between its spaces, one after the other. News repeats its words: looking them up in a
dictionary takes a fraction of the time of tokenizing them again. Only for tokenizers that are
BERT's to the letter (`plain_tokens`).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..base import Tokenized

_MOST_WORDS = 200_000
"""Words kept, some 40 MB; then it begins anew."""
_LONGEST = 2_000
"""Characters of a text from which its words are not worth keeping."""


class WordIds:
    """Encodes texts as a `tokenizers.Tokenizer` does that is BERT's and cuts at a length."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._known: dict[str, list[int]] = {}
        self._begin, self._end = backend.encode("").ids
        self._length: int = backend.truncation["max_length"]

    def encode(self, texts: Sequence[str]) -> Tokenized:
        """Return the texts as ids, and which of them were cut."""
        short = [text.split(" ") if len(text) <= _LONGEST else [] for text in texts]
        words = self._with_words(set().union(*short))
        begin, end, length = [self._begin], [self._end], self._length
        rows = [[*begin, *chain.from_iterable(map(words.__getitem__, s)), *end] for s in short]
        cut = np.zeros(len(rows), np.bool_)
        for i, text in enumerate(texts):
            if len(text) > _LONGEST:
                found = self._backend.encode(text)
                rows[i], cut[i] = found.ids, bool(found.overflowing)
            elif len(rows[i]) > length:
                rows[i], cut[i] = [*rows[i][: length - 1], *end], True
        return Tokenized.of(rows, cut)

    def _with_words(self, wanted: set[str]) -> dict[str, list[int]]:
        """Return the ids of words, among them all that are wanted."""
        if len(self._known) > _MOST_WORDS:
            self._known = {}
        known = self._known  # another thread may begin anew meanwhile
        new = list(wanted - known.keys())
        for word, found in zip(new, self._backend.encode_batch_fast(new), strict=True):
            ids = found.ids[1:-1]
            # Of a word that was cut itself one id more, so that its text is cut, too.
            known[word] = [*ids, self._end] if found.overflowing else ids
        return known
