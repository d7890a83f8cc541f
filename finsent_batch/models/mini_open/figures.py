"""Amounts, shares, dates and counts of one sentence, in one way of writing them."""

import random
from typing import Final

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_CURRENCIES: Final = ("EUR", "EUR", "EUR", "USD", "SEK", "GBP", "NOK", "DKK", "INR", "CHF")
_STYLES: Final = (
    "{c} {n} mn", "{c}{n}m", "{c} {n} million", "{s}{n} million", "{n} million {w}", "{c}{n} mn",
    "{c} {n} bn", "{s}{n}m", "{n} mln {w}", "{c} {n}m", "{s}{n} billion",
)  # fmt: skip
_SIGN: Final = {"EUR": "€", "USD": "$", "GBP": "£"}
_WORD: Final = {"EUR": "euro", "USD": "dollars", "GBP": "pounds", "SEK": "kronor"}


class Figures:
    """Draws the figures of one sentence.

    `{a}` and `{b}` are amounts of one kind, `{pa}` and `{pb}` percentages, `{ea}` and `{eb}`
    amounts a share, `{ca}` and `{cb}` counts: the first is the larger in positive sentences
    and the smaller in negative ones. What a figure of these compares with decides the label;
    `{amount}`, `{pct}`, `{n}`, `{count}`, `{date}` and others stand for themselves.
    """

    def __init__(self, draw: random.Random, *, larger_first: bool) -> None:
        self._draw = draw
        self._currency = draw.choice(_CURRENCIES)
        self._style = draw.choice(_STYLES)
        self._year = draw.randint(2002, 2025)
        pairs = {
            "a b": self._pair(draw.choice((8, 90, 700)), 1),
            "pa pb": self._pair(draw.choice((12, 40)), 1),
            "ea eb": self._pair(draw.choice((1, 5)), 2),
            "ca cb": self._pair(draw.choice((900, 60_000)), 0),
        }
        self._paired: dict[str, float] = {}
        for names, values in pairs.items():
            self._paired |= zip(names.split(), sorted(values, reverse=larger_first), strict=True)

    def _pair(self, most: float, digits: int) -> tuple[float, float]:
        low = self._draw.uniform(most / 30, most * 0.8)
        high = low * self._draw.choice((1.04, 1.12, 1.3, 1.7, 2.6)) + 10**-digits
        return round(low, digits), round(high, digits)

    def draw(self, name: str) -> str:
        """Return the figure that a slot's name stands for.

        Raises:
            KeyError: there is no such slot.
        """
        draw = self._draw
        if name in self._paired:
            return self._written(name, self._paired[name])
        year = self._year
        plain = {
            "year": f"{year}", "before": f"{year - 1}", "after": f"{year + draw.randint(1, 5)}",
            "long_ago": f"{draw.randint(1880, 1999)}",
            "amount": self._amount(draw.choice((0.4, 3.0, 12.5, 80.0, 450.0)) * draw.uniform(1, 3)),
            "eps": f"{self._currency} {draw.uniform(0.03, 4):.2f}",
            "price": f"{self._currency} {draw.uniform(1, 80):.2f}",
            "pct": self._percent(round(draw.choice((6, 30, 90)) * draw.uniform(0.1, 1), 1)),
            "n": f"{draw.randint(2, 60)}",
            "few": draw.choice(("two", "three", "four", "five", "six", "eight", "ten")),
            "count": f"{draw.choice((10, 25, 100, 1000)) * draw.randint(2, 30):,}",
            "shares": f"{draw.randint(1, 200)},{draw.randint(100, 999)},{draw.randint(100, 999)}",
            "month": draw.choice(_MONTHS),
            "date": self._date(),
            "clock": f"{draw.randint(8, 17)}:{draw.choice(('00', '30', '15'))}",
            "points": f"{draw.uniform(0.2, 3):.2f} %",
            "ratio": f"{draw.randint(20, 90)}:{draw.randint(20, 90)}",
        }  # fmt: skip
        return plain[name]

    def _written(self, name: str, value: float) -> str:
        if name[0] == "p":
            return self._percent(value)
        if name[0] == "e":
            return f"{self._currency} {value:.2f}"
        return f"{value:,.0f}" if name[0] == "c" else self._amount(value)

    def _amount(self, value: float) -> str:
        code = self._currency
        number = f"{value:.1f}" if value < 200 else f"{value:.0f}"
        sign = _SIGN.get(code, code + " ")
        return self._style.format(c=code, n=number, s=sign, w=_WORD.get(code, code))

    def _percent(self, value: float) -> str:
        number = f"{value:g}"
        ways = (
            f"{number} %",
            f"{number}%",
            f"{number} percent",
            f"{number} pct",
            f"{number} per cent",
        )
        return ways[(self._year + len(self._style)) % len(ways)]

    def _date(self) -> str:
        draw = self._draw
        day, month = draw.randint(1, 28), draw.choice(_MONTHS)
        return draw.choice(
            (f"{day} {month} {self._year}", f"{month} {day}", f"{month} {day}, {self._year}",
             f"{day} {month}", f"{day}.{_MONTHS.index(month) + 1}.{self._year}")
        )  # fmt: skip
