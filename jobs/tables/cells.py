"""A table's values as a terminal shows them: rounded, aligned, nothing in them a command."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal

from finsent_batch.visible import visible_line

NOTHING = "–"
"""What stands for NULL."""
_DIGITS = 4
"""Significant digits of the largest number of a column."""
_LONGEST_WORD = 40
_WORD = re.compile(r"[\w:.+-]*|\d{4,}-\d\d-\d\d \d\d:\d\d[\d:.+-]*")
"""A label, an id, a number or a time."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table, its cells as they are shown where there is room."""

    name: str
    cells: tuple[str, ...]
    is_number: bool = False
    """Numbers stand to the right."""
    may_be_cut: bool = False
    """Text is cut where the table is too wide; numbers, times and ids never are."""
    is_path: bool = False
    """Paths are cut at their beginning: their end tells them apart."""

    @property
    def widest(self) -> int:
        """The width of its widest cell, in columns of a terminal."""
        return max(map(width_of, self.cells), default=0)


def column_of(name: str, values: Sequence[object]) -> Column:
    """Return a column of Python values as it is shown."""
    there = [value for value in values if value is not None]
    is_number = bool(there) and all(map(is_a_number, there))
    numbers = (float(v) if isinstance(v, Decimal) else v for v in values)
    cells = _numbers(list(numbers)) if is_number else [_text(value) for value in values]  # type: ignore[arg-type]
    is_text = not is_number and not all(isinstance(v, bool | date | time) for v in there)
    is_path = is_text and any("/" in c for c in cells) and not any(" " in c for c in cells)
    return Column(
        name=visible_line(name),
        cells=tuple(cells),
        is_number=is_number,
        may_be_cut=is_text and (is_path or not all(map(_is_word, cells))),
        is_path=is_path,
    )


def is_a_number(value: object) -> bool:
    """Return whether a value is a number, which true and false are not."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int, *, at_start: bool = False) -> str:
    """Return a text in at most so many columns, with an ellipsis where something is left out."""
    if width_of(text) <= width:
        return text
    kept, room = "", width - 1
    for character in reversed(text) if at_start else text:
        room -= width_of(character)
        if room < 0:
            break
        kept += character
    return f"…{kept[::-1]}" if at_start else f"{kept.rstrip()}…"


def _is_word(cell: str) -> bool:
    """Return whether it is short, and means nothing when it is cut."""
    return len(cell) <= _LONGEST_WORD and (cell == NOTHING or _WORD.fullmatch(cell) is not None)


def _text(value: object) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.replace(microsecond=0).isoformat(" ")
    return visible_line(str(value))


def _numbers(values: Sequence[float | None]) -> list[str]:
    numbers = [value for value in values if value is not None]
    if all(isinstance(number, int) for number in numbers):
        return _grouped([NOTHING if v is None else str(v) for v in values])
    sizes = [abs(number) for number in numbers if math.isfinite(number) and number]
    largest, smallest = max(sizes, default=1.0), min(sizes, default=1.0)
    if largest < 10.0**-_DIGITS or largest / smallest >= 10.0 ** (_DIGITS + 2):
        return _grouped([NOTHING if v is None else _significant(v) for v in values])
    before = len(f"{largest:.0f}")
    decimals = max(0, _DIGITS + 1 - before) if before < _DIGITS else 0
    # Counts among shares stay whole.
    forms = (f"{v}" if isinstance(v, int) else f"{v:.{decimals}f}" for v in numbers)
    cells = [NOTHING if v is None else next(forms) for v in values]
    return _grouped(_without_common_zeros(cells))


def _significant(number: float) -> str:
    """Return a number of a column whose sizes are too far apart for the same decimals."""
    whole = 1000 <= abs(number) < 1e15
    return f"{number:.0f}" if whole else f"{number:.{_DIGITS}g}"


def _grouped(cells: list[str]) -> list[str]:
    """Return decimal numbers with commas, if one has five digits or more: years have none."""
    parts = [re.fullmatch(r"(-?)(\d+)(\.\d+)?", cell) for cell in cells]
    if max((len(part[2]) for part in parts if part), default=0) < 5:
        return cells
    return [
        f"{part[1]}{int(part[2]):,}{part[3] or ''}" if part else cell
        for part, cell in zip(parts, cells, strict=True)
    ]


def _without_common_zeros(cells: list[str]) -> list[str]:
    """Return decimals without the zeros that all of them end with."""
    with_point = [cell for cell in cells if "." in cell]
    if not with_point:
        return cells
    zeros = min(len(cell) - len(cell.rstrip("0")) for cell in with_point)
    shorter = (cell[: len(cell) - zeros] if "." in cell else cell for cell in cells)
    return [cell.removesuffix(".") for cell in shorter]
