"""Held-out headlines that others repeat, word for word or nearly.

Two headlines are near duplicates when they share at least 80 % of their words (Jaccard
index of the sets of words, figures among them), or when they have one `duplicate_key`.
Found by prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007): of two sets that
alike, the rarest words of each overlap, so that only those are looked up.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from .duplicates import duplicate_key

THRESHOLD: Final = 0.8
_WORD = re.compile(r"[^\W_]+")
# Fewer words than this say too little for two headlines to be told to be one.
_LEAST: Final = 4


class HeldOut:
    """Validation and test headlines, to be asked whether a text repeats one of them."""

    def __init__(self, headlines: Iterable[str]) -> None:
        texts = list(dict.fromkeys(headlines))
        self._keys = {duplicate_key(text) for text in texts} - {""}
        self._sets = [_words(text) for text in texts]
        self._frequency = Counter(word for words in self._sets for word in words)
        self._by_word: dict[str, list[int]] = {}
        for index, words in enumerate(self._sets):
            for word in self._prefix(words):
                self._by_word.setdefault(word, []).append(index)

    def same(self, text: str) -> bool:
        """Return whether a text has the `duplicate_key` of a held-out headline."""
        return duplicate_key(text) in self._keys

    def near(self, text: str) -> bool:
        """Return whether a text is the same as a held-out headline, or nearly."""
        return self.same(text) or self._alike(_words(text))

    def _alike(self, words: frozenset[str]) -> bool:
        for word in self._prefix(words):
            for index in self._by_word.get(word, ()):
                other = self._sets[index]
                if len(words & other) >= THRESHOLD * len(words | other):
                    return True
        return False

    def _prefix(self, words: frozenset[str]) -> list[str]:
        """Return the rarest words of a set; sets alike enough share one of theirs.

        Words that no held-out headline has are the rarest, and left out: nothing shares them.
        """
        if len(words) < _LEAST:
            return []
        known = [word for word in words if word in self._frequency]
        wanted = len(known) - math.ceil(THRESHOLD * len(words)) + 1
        if wanted <= 0:
            return []
        known.sort(key=lambda word: (self._frequency[word], word))
        return known[:wanted]


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
