"""Training headlines turned into their opposites: "profit rose" into "profit fell".

Labelled finance text has few negative sentences, and what makes one negative is
often a single word of direction, or which of two figures is the larger. A
headline with such words is turned around and takes the opposite label
(counterfactual augmentation, Kaushik et al. 2020). Training only; never for
validation or test rows.
"""

import re
from collections.abc import Iterator
from typing import Final

# Words of opposite direction. Nouns such as profit and loss are not here:
# turning those around as well would give the first meaning back.
_PAIRS: Final = """
rose fell, rise fall, rises falls, rising falling, risen fallen, increased decreased,
increase decrease, increases decreases, increasing decreasing, grew shrank, grow shrink,
grown shrunk, growing shrinking, higher lower, improved weakened, improve weaken,
improvement deterioration, gained lost, gain drop, jumped plunged, climbed slid, surged slumped,
strong weak, stronger weaker, better worse, above below, positive negative,
exceeded missed, doubled halved, narrowed widened, narrows widens,
narrow widen, narrowing widening, expanded contracted
"""
_OPPOSITE: Final[dict[str, str]] = {
    "declined": "grew", "dropped": "climbed", "slipped": "climbed", "soared": "plunged",
    "rocketed": "plunged",
}  # fmt: skip
for _pair in _PAIRS.replace("\n", " ").split(","):
    _one, _other = _pair.split()
    _OPPOSITE.setdefault(_one, _other)
    _OPPOSITE.setdefault(_other, _one)
_RESULTS: Final = {
    "profit": "loss", "profits": "losses", "earnings per share ( eps )": "loss per share",
    "earnings per share": "loss per share", "eps": "loss per share", "earnings": "losses",
    "loss per share": "earnings per share", "losses": "profits", "loss": "profit",
}  # fmt: skip


def _any(words: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


# These are of direction in some places alone: not in "set up", "to cut jobs" or "last fall".
_IN_PLACE: Final = r"""
(?:(?<=\bwent )|(?<=\bgone )|(?<=\bgo )|(?<=\bwas )|(?<=\bwere )|(?<=\bis )|(?<=, ))
(?:up|down)\b(?!-)
|\b(?:up|down)(?=\ (?:from|by|about|nearly|on\ (?:the|\d)|to\ (?:EUR|USD|\$)|\d|EUR|USD|\$))
|\b(?:raised|(?<!will )(?<!would )(?<!to )(?<!may )(?<!could )cut|upgraded|downgraded)
(?=\ (?:its|our|the|their|to|from|by)\b)
"""
_PLACED: Final = {
    "up": "down", "down": "up", "raised": "cut", "cut": "raised", "upgraded": "downgraded",
    "downgraded": "upgraded", "growth": "decline", "decline": "growth",
}  # fmt: skip
_DIRECTION = re.compile(
    rf"(?<!last )(?<!this )\b(?:{_any(_OPPOSITE)})\b(?! out\b)|{_IN_PLACE}".replace("\n", ""), re.I
)
# Turned only where nothing else is: "raised its growth estimate" has one direction, not two.
_GROWTH = re.compile(r"\b(?:growth|decline)\b", re.I)
# What follows from a direction stays as it is when that is turned.
_OUTCOME = re.compile(r"\b(?:forced|burdened|lead(?:s|ing)? to|led to|eaten|rebound\w*)\b", re.I)
_CAUSE = re.compile(
    r"\b(?:due to|because of|on the back of|thanks to|owing to|despite|as a result of)\b", re.I
)
_RESULT = re.compile(rf"\b(?:{_any(_RESULTS)})(?!\w)", re.I)
_COMPARISON = re.compile(r"\b(?:compared (?:to|with)|from|versus|vs|against)\b", re.I)
# PhraseBank parts some numbers, "EUR0 .07", and gives some in dollars too, "2 mln euro $ 3 mln".
_CURRENCY = r"(?:EURO?|USD|GBP|SEK|(?:US|U\.S\. ?)?\$|€|£)"
_UNIT = r"(?:mn|mln|million|bn|billion|m)\b"
_NUMBER = r"\d+(?: ?[.,]\d+)*"
_AMOUNT = re.compile(
    rf"(?:(?<!\w)(?P<currency>{_CURRENCY}) ?|(?<![\w.,$-])){_NUMBER}"
    r"(?P<percent> ?(?:%|pct|per ?cent))?"
    rf"(?: ?{_UNIT})?(?: ?euros?\b)?(?! ?[.,]?\d|[\w-])"
    rf"(?: ?\(? ?{_CURRENCY} ?{_NUMBER}(?: ?{_UNIT})?(?: ?\))?(?!\w))?",
    re.I,
)
_TO = re.compile(r"(?:(?!\band\b)[^.;,-]){0,60}?\bto ?")
_YEAR = re.compile(r"(?:19|20)\d\d")
# What may stand between a comparison and the result it names: "versus a net loss".
_BEFORE_RESULT = re.compile(
    r"\s*(?:(?:an?|the|year|earlier|net|operating|pre-?tax|total|euros?|"
    rf"{_CURRENCY}|{_UNIT}|{_NUMBER})\s+)*",
    re.I,
)
_SIGNED = re.compile(rf"(?:\b(?:negative|minus) (?:{_CURRENCY})? ?|(?<![\w-])-)\d", re.I)
# How far behind a comparison its figure may stand, and how far before it the other figure, or the
# result that it is about: characters.
_NEXT, _FAR = 30, 120


def opposite_headline(headline: str) -> str | None:
    """Return the headline with its direction reversed, or None if it shows none.

    Words of direction are replaced. Where a profit is compared to a loss these two words
    change places, as either figure may be the larger; else, where two figures are
    compared ("EUR 3 mn from EUR 1 mn"), the figures do.
    """
    cause = _CAUSE.search(headline)
    if _SIGNED.search(headline) or _OUTCOME.search(headline):
        return None
    if cause and not _DIRECTION.search(headline, 0, cause.start()):
        return None
    words = _DIRECTION if _DIRECTION.search(headline) else _GROWTH
    try:
        edits = [edit for pair in _swaps(headline) for edit in pair]
    except _UnsureError:
        return None
    edits += [(*found.span(), _turned(found[0])) for found in words.finditer(headline)]
    turned, end = "", 0
    for start, stop, text in sorted(edits):
        if start >= end:
            turned += headline[end:start] + text
            end = stop
    turned += headline[end:]
    return turned if turned != headline else None


class _UnsureError(ValueError):
    """What is compared cannot be turned around."""


def _turned(word: str) -> str:
    return _like(_OPPOSITE.get(word.lower()) or _PLACED[word.lower()], word)


def _like(word: str, model: str) -> str:
    return word.capitalize() if model[0].isupper() and not model.isupper() else word


_Match = re.Match[str]
_Edit = tuple[int, int, str]
_Pair = tuple[_Match, _Match]


def _swaps(headline: str) -> Iterator[tuple[_Edit, _Edit]]:
    """Yield what changes places at each comparison: where, and what comes there."""
    found = _AMOUNT.finditer(headline)
    amounts = [amount for amount in found if not _YEAR.fullmatch(amount[0])]
    since = 0
    for comparison in _COMPARISON.finditer(headline):
        after = [a for a in amounts if a.start() >= comparison.end()]
        if after and not _belongs(headline[comparison.end() : after[0].start()]):
            after = []
        before = [a for a in amounts if since <= a.start() and a.end() <= comparison.start()]
        if pair := _results(headline, since, comparison):
            yield _renamed(pair[0]), _renamed(pair[1])
        elif after and (pair := _figures(headline, before, after)):
            yield (*pair[0].span(), pair[1][0]), (*pair[1].span(), pair[0][0])
        # A figure that one thing is compared with is not the next thing's own.
        since = after[0].end() if after else comparison.end()


def _belongs(between: str) -> bool:
    """Return whether a figure is that of the comparison before it: "from life, rose to 5" not."""
    return len(between) <= _NEXT and not _DIRECTION.search(between)


def _results(headline: str, since: int, comparison: _Match) -> _Pair | None:
    """Return a profit and the loss it is compared to, or the other way round."""
    start = max(since, comparison.start() - _FAR)
    before = list(_RESULT.finditer(headline, start, comparison.start()))
    opening = _BEFORE_RESULT.match(headline, comparison.end())
    after = opening and _RESULT.match(headline, opening.end())
    if after and not before and _is_loss(after):
        raise _UnsureError  # "EBIT was 14, compared to a loss of 3": better, whichever is larger
    if not before or not after or _is_loss(before[-1]) == _is_loss(after):
        return None
    return before[-1], after


def _is_loss(result: _Match) -> bool:
    return result[0].lower().startswith("loss")


def _renamed(result: _Match) -> _Edit:
    return (*result.span(), _like(_RESULTS[result[0].lower()], result[0]))


def _figures(headline: str, before: list[_Match], after: list[_Match]) -> _Pair | None:
    """Return the two figures of "A from B", or of "from A to B", if they are of one kind."""
    other = after[0]
    alike = [a for a in after[1:2] if _kind(a) == _kind(other)]
    if alike and _TO.fullmatch(headline, other.end(), alike[0].start()):
        return other, alike[0]
    near = [a for a in before if other.start() - a.start() <= _FAR]
    alike = [a for a in near if _kind(a) == _kind(other)]
    same = [a for a in alike if a["currency"] == other["currency"]] or alike
    return (same[-1], other) if same else None


def _kind(amount: _Match) -> str:
    """Return `share`, `figure`, or for what may be a day or an edition as well `number`."""
    if amount["percent"]:
        return "share"
    return "number" if amount[0].isdecimal() else "figure"
