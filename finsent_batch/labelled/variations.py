"""Variations of training headlines: texts like them, for a teacher to label.

A student learns what its teacher would say of many texts, not of the few that people
labelled (Hinton et al. 2015). A variation keeps a headline's style and changes its content:
figures redrawn, its direction turned around, words dropped or replaced by words of the
same headlines, half of it alone or beside another's half (Jiao et al. 2020; Wei and Zou
2019), or crossed with others: where two headlines have the same two words in a row, the
text may go on as the other does. It has no label of its own: no change here is sure to
keep one.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from .augmentation import opposite_headline
from .duplicates import duplicate_key
from .near_duplicates import HeldOut

_DROPPED: Final = 0.12
_REPLACED: Final = 0.15
_OPPOSITE_SHARE: Final = 0.3
_REDRAWN_SHARE: Final = 0.6
_CROSSED_SHARE: Final = 0.5
# How likely a text leaves its headline where it may, and how many words end it.
_SWITCH: Final = 0.35
_LONGEST: Final = 60
# Beyond so many draws in a row without a new text a headline has no more to give.
_TRIES: Final = 4
_NUMBER = re.compile(r"\d+")
_YEAR = re.compile(r"(?:19|20)\d\d")
_BREAK = re.compile(r"\s*[,;:]\s+|\s+(?:and|but|while|as|after|from|compared|on)\s+", re.I)


def variations(
    headlines: Sequence[str], per_headline: int, *, seed: int, held_out: HeldOut
) -> Iterator[str]:
    """Yield up to `per_headline` variations of each headline, none twice and none a headline.

    Nothing is yielded that repeats a held-out row or nearly does.
    """
    draw = random.Random(seed)
    crossings = _Crossings(headlines)
    seen = {duplicate_key(headline) for headline in headlines}
    words = [word for headline in headlines for word in headline.split()]
    for headline in headlines:
        turned = opposite_headline(headline)
        for _ in range(per_headline):
            for _ in range(_TRIES):
                base = turned if turned and draw.random() < _OPPOSITE_SHARE else headline
                if draw.random() < _CROSSED_SHARE:
                    text = _with_figures(crossings.walk(base, draw), draw)
                else:
                    text = _varied(base, draw, words, headlines)
                key = duplicate_key(text)
                if key not in seen and not held_out.near(text):
                    seen.add(key)
                    yield text
                    break


def _varied(
    headline: str, draw: random.Random, words: Sequence[str], headlines: Sequence[str]
) -> str:
    """Return the headline after one or two changes drawn at random."""
    headline = _with_figures(headline, draw)
    way = draw.choices(("drop", "replace", "both", "half", "join"), (25, 25, 25, 15, 10))[0]
    if way == "half":
        return draw.choice(_halves(headline))
    if way == "join":
        return f"{_halves(headline)[0]} {_halves(draw.choice(headlines))[1]}"
    kept = headline.split()
    if way in ("drop", "both"):
        kept = [word for word in kept if draw.random() >= _DROPPED] or kept
    if way in ("replace", "both"):
        kept = [draw.choice(words) if draw.random() < _REPLACED else word for word in kept]
    return " ".join(kept)


class _Crossings:
    """Headlines that go on as others do, from any two words in a row that both have."""

    def __init__(self, headlines: Sequence[str]) -> None:
        self._split = [headline.split() for headline in headlines]
        self._at: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for index, split in enumerate(self._split):
            for place in range(1, len(split)):
                self._at[_pair(split, place)].append((index, place))

    def walk(self, headline: str, draw: random.Random) -> str:
        """Return the headline, at each such place perhaps left for another one."""
        split, place, text = headline.split(), 0, list[str]()
        while place < len(split) and len(text) < _LONGEST:
            text.append(split[place])
            others = self._at.get(_pair(split, place), ()) if place else ()
            if len(others) > 1 and draw.random() < _SWITCH:
                index, place = draw.choice(others)
                split = self._split[index]
            place += 1
        return " ".join(text)


def _pair(split: Sequence[str], place: int) -> tuple[str, str]:
    """Return a word and the one before it, so that any figures are alike."""
    before, word = (_NUMBER.sub("0", split[at].lower()) for at in (place - 1, place))
    return before, word


def _with_figures(headline: str, draw: random.Random) -> str:
    """Return the headline, perhaps with its figures redrawn."""
    if draw.random() >= _REDRAWN_SHARE:
        return headline
    return _NUMBER.sub(lambda found: _redrawn(found[0], draw), headline)


def _redrawn(number: str, draw: random.Random) -> str:
    """Return another number of as many digits; a year stays."""
    if _YEAR.fullmatch(number):
        return number
    first = draw.choice("123456789") if number[0] != "0" else "0"
    return first + "".join(draw.choice("0123456789") for _ in number[1:])


def _halves(headline: str) -> tuple[str, str]:
    """Return a headline's two parts, at the break nearest to its middle."""
    middle = len(headline) / 2
    breaks = [found.span() for found in _BREAK.finditer(headline)]
    words = headline.split()
    inner = [(start, end) for start, end in breaks if 0.2 < start / (2 * middle) < 0.8]
    if not inner:
        half = max(1, len(words) // 2)
        return " ".join(words[:half]), " ".join(words[half:] or words)
    start, end = min(inner, key=lambda span: abs(span[0] - middle))
    return headline[:start], headline[end:]
