"""What is usual for a figure: a band from the nights before, by weekday where there are enough.

The band is the median of comparable nights and so many robust deviations to either side, in a
scale in which the figure varies alike wherever it stands: the logarithm of counts and lengths, the
angle of shares, the root of indices of drift. A plain three-sigma rule would call a night without
rows normal, because weekends widen its sigma.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeVar

T = TypeVar("T")

FEWEST_NIGHTS: Final = 5
"""Comparable nights without which nothing is called usual."""
_DEVIATIONS: Final = 6.0
_TO_SIGMA: Final = 1.4826
"""A median absolute deviation times this is the standard deviation of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The scale in which a figure is compared."""

    to: Callable[[float], float]
    back: Callable[[float], float]
    least: float
    """The least deviation that is assumed, on this scale."""


SCALES: Final[Mapping[str, Scale]] = {
    "count": Scale(to=math.log1p, back=math.expm1, least=0.10),
    "length": Scale(to=math.log1p, back=math.expm1, least=0.01),
    "share": Scale(
        to=lambda share: math.asin(math.sqrt(min(1.0, max(0.0, share)))),
        back=lambda angle: math.sin(min(math.pi / 2, max(0.0, angle))) ** 2,
        least=0.005,
    ),
    "score": Scale(to=lambda x: x, back=lambda x: x, least=0.01),
    "drift": Scale(
        to=lambda index: math.sqrt(max(0.0, index)),
        back=lambda root: max(0.0, root) ** 2,
        least=0.01,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Band:
    """What is usual for a figure."""

    low: float | None
    """None where it cannot be too low."""
    high: float | None
    usual: float
    """The median of the nights compared with."""
    nights: int
    by_weekday: bool
    """Whether they are of the same weekday, not only as well of the week or the weekend."""

    def holds(self, value: float) -> bool:
        """Return whether a value lies in the band."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def usual_band(
    history: Sequence[tuple[int, float]],
    weekday: int,
    scale: str,
    *,
    noise: float = 0.0,
    low: bool = True,
    high: bool = True,
) -> Band | None:
    """Return the band of a figure; None where fewer than `FEWEST_NIGHTS` nights are comparable.

    `history` has (weekday, value) of each night, Monday being 0; `noise` is the deviation, on
    the scale, that the size of the night itself explains. `low` and `high` say on which side a
    figure can be unusual.
    """
    values, by_weekday = comparable(history, weekday)
    if len(values) < FEWEST_NIGHTS:
        return None
    how = SCALES[scale]
    found = [how.to(value) for value in values]
    middle = median(found)
    deviation = _TO_SIGMA * median(abs(value - middle) for value in found)
    # Few nights say little about how far nights go.
    reach = _DEVIATIONS * (1 + 4 / len(found)) * math.hypot(max(deviation, how.least), noise)
    return Band(
        low=how.back(middle - reach) if low else None,
        high=how.back(middle + reach) if high else None,
        usual=how.back(middle),
        nights=len(found),
        by_weekday=by_weekday,
    )


def comparable(history: Sequence[tuple[int, T]], weekday: int) -> tuple[list[T], bool]:
    """Return the nights of the same weekday, or where they are few of the same part of the week.

    The second value says whether they are of the weekday.
    """
    same = [found for day, found in history if day == weekday]
    if len(same) >= FEWEST_NIGHTS:
        return same, True
    return [found for day, found in history if (day >= 5) == (weekday >= 5)], False


def share_noise(rows: float) -> float:
    """Return the deviation of a share of so many rows by chance, on the scale of shares."""
    return 0.5 / math.sqrt(rows) if rows > 0 else 0.0
