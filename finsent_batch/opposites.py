"""Training headlines turned into their opposites: "profit rose" into "profit fell".

Labelled finance text has few negative sentences, and what makes one negative is
often a single word of direction, or which of two figures is the larger. A
headline with such words is turned around and takes the opposite label
(counterfactual augmentation, Kaushik et al. 2020). Training only; never for
validation or test rows.
"""

import re
from typing import Final

# Words of opposite direction. Nouns such as profit and loss are not here:
# turning those around as well would give the first meaning back.
_PAIRS: Final = """
rose fell, rise fall, rises falls, rising falling, risen fallen, increased decreased,
increase decrease, increases decreases, increasing decreasing, up down, grew shrank, grow shrink,
grown shrunk, growing shrinking, growth decline, higher lower, improved weakened, improve weaken,
improvement deterioration, gained lost, gain drop, jumped plunged, climbed slid, surged slumped,
strong weak, stronger weaker, better worse, above below, positive negative, raised cut,
exceeded missed, upgraded downgraded, doubled halved
"""
_OPPOSITE: Final[dict[str, str]] = {"declined": "grew", "dropped": "climbed"}
for _pair in _PAIRS.replace("\n", " ").split(","):
    _one, _other = _pair.split()
    _OPPOSITE.setdefault(_one, _other)
    _OPPOSITE.setdefault(_other, _one)

_DIRECTION = re.compile(rf"\b({'|'.join(sorted(_OPPOSITE, key=len, reverse=True))})\b", re.I)
_NUMBER = r"(\d[\d.,]*\d|\d)"
_COMPARISON = r"\b(?:compared (?:to|with)|from|versus|vs|against)\b"
_COMPARED = re.compile(rf"{_NUMBER}(\D{{0,40}}?{_COMPARISON}\D{{0,25}}?){_NUMBER}")


def opposite_headline(headline: str) -> str | None:
    """Return the headline with its direction reversed, or None if it shows none.

    Words of direction are replaced and, where two figures are compared ("EUR 3 mn
    from EUR 1 mn"), the figures change places.
    """
    turned = _DIRECTION.sub(lambda found: _like(_OPPOSITE[found[0].lower()], found[0]), headline)
    turned = _COMPARED.sub(lambda found: found[3] + found[2] + found[1], turned, count=1)
    return turned if turned != headline else None


def _like(word: str, model: str) -> str:
    return word.capitalize() if model[0].isupper() else word
