"""How a table fits a terminal: which columns are shown, how wide each is, the lines.

A column gets the width that its cells need. Where they do not all fit, names wrap, then text
is cut with an ellipsis, then columns are left out: those that the caller can do without first,
then those in the middle. Numbers, times and ids are shown whole or not at all.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from .cells import Column, cut, width_of

_GAP = 2
_NARROWEST_TEXT = 24
_NARROWEST_PATH = 18
_NARROWEST_NAME = 12
_PLACE_OF_OTHERS = Column(name="…", cells=())


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of a table that are shown, and their widths."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]
    left_out: tuple[str, ...]
    """Names of columns for which there is no room."""
    wraps: bool = False
    """Whether text goes on in the next line instead of being cut."""

    def lines(self) -> Iterator[tuple[bool, str]]:
        """Yield the table's lines, each with whether it belongs to the head."""
        names = [_wrapped(c.name, w) for c, w in zip(self.columns, self.widths, strict=True)]
        height = max(map(len, names), default=0)
        for row in range(height):
            # Names stand on the rule.
            parts = [n[row - height + len(n)] if row >= height - len(n) else "" for n in names]
            yield True, self._line(parts)
        yield True, (" " * _GAP).join("─" * width for width in self.widths)
        for row in range(max((len(c.cells) for c in self.columns), default=0)):
            cells = [c.cells[row] if c.cells else "…" for c in self.columns]
            if self.wraps:
                wrapped = [textwrap.wrap(c, w) for c, w in zip(cells, self.widths, strict=True)]
                for line in zip_longest(*wrapped, fillvalue=""):
                    yield False, self._line(line)
            else:
                yield False, self._line(cells)

    def _line(self, cells: Sequence[str]) -> str:
        parts = []
        for cell, column, width in zip(cells, self.columns, self.widths, strict=True):
            shown = cut(cell, width, at_start=column.is_path and cell != column.name)
            space = " " * (width - width_of(shown))
            parts.append(space + shown if column.is_number else shown + space)
        return (" " * _GAP).join(parts).rstrip()


def lay_out(
    columns: Sequence[Column], width: int, *, dispensable: Sequence[str] = (), wraps: bool = False
) -> Layout:
    """Choose the columns that fit a width, and give each its own.

    `dispensable` names those that may be left out, the first of them first; see `Layout`
    for `wraps`.
    """
    shown = list(columns)
    waiting = list(dispensable)
    while not _fits([_least(column) for column in shown], width) and len(shown) > 1:
        first = next((c for c in shown if c.name in waiting[:1]), None)
        waiting = waiting[1:]
        if first is not None:
            shown.remove(first)
        elif not waiting:
            shown = _without_middle(shown)
            if len(shown) <= 2:
                break
    kept = {id(column) for column in shown}
    left_out = tuple(column.name for column in columns if id(column) not in kept)
    widths = tuple(_shared(shown, width))
    return Layout(columns=tuple(shown), widths=widths, left_out=left_out, wraps=wraps)


def _without_middle(shown: list[Column]) -> list[Column]:
    """Return the columns without the one in the middle, whose place is marked."""
    if _PLACE_OF_OTHERS not in shown:
        middle = len(shown) // 2
        return [*shown[:middle], _PLACE_OF_OTHERS, *shown[middle + 1 :]]
    place = shown.index(_PLACE_OF_OTHERS)
    # The side with more columns gives one, the left one if they are even.
    gone = place - 1 if place >= len(shown) - place - 1 and place else place + 1
    return [column for number, column in enumerate(shown) if number != gone]


def _shared(columns: Sequence[Column], width: int) -> list[int]:
    """Return the columns' widths: the least of each, and the rest for whoever needs little more."""
    widths = [_least(column) for column in columns]
    needs = [max(c.widest, width_of(c.name)) - w for c, w in zip(columns, widths, strict=True)]
    spare = width - sum(widths) - _GAP * (len(columns) - 1)
    if spare < 0:  # the last resort: one column too wide for the terminal
        return [min(w, max(width // len(columns) - _GAP, 1)) for w in widths]
    waiting = sorted(range(len(columns)), key=lambda number: needs[number])
    for served, number in enumerate(waiting):
        given = min(needs[number], spare // (len(waiting) - served))
        widths[number] += given
        spare -= given
    return widths


def _fits(widths: Sequence[int], width: int) -> bool:
    return sum(widths) + _GAP * (len(widths) - 1) <= width


def _least(column: Column) -> int:
    """Return the width below which a column is not shown."""
    name = max(map(width_of, _words(column.name)), default=0)
    if column.may_be_cut:
        narrowest = _NARROWEST_PATH if column.is_path else _NARROWEST_TEXT
        return max(min(column.widest, narrowest), min(name, _NARROWEST_NAME))
    return max(column.widest, name)


def _words(name: str) -> list[str]:
    return re.findall(r"[^_\s]+_?|_+", name)


def _wrapped(name: str, width: int) -> list[str]:
    """Return a name in lines of a width, broken after underscores and at blanks."""
    if width_of(name) <= width:
        return [name]
    lines = [""]
    for word in re.findall(r"[^_\s]+_?\s*|_+", name):
        if lines[-1] and width_of(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return [cut(line.rstrip(), width) for line in lines]
