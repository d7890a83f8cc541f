"""A text file on its way: staged to Parquet, with the records that do not parse set aside."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A record that does not parse."""

    line: int
    """Line of the file on which it ends, from 1."""
    text: str
    fields: int = 0
    expected: int = 0
    problem: str | None = None
    """What is wrong with it, where it is not the number of its fields."""

    @property
    def reason(self) -> str:
        """What is wrong with it."""
        return self.problem or f"{self.fields} fields instead of {self.expected}"


@dataclass(frozen=True, kw_only=True)
class StagedText:
    """A text file as Parquet, with the rows set aside on the way."""

    file: Path
    bad_rows: tuple[BadRow, ...]
    notes: tuple[str, ...] = ()
    """What was taken although the file does not say it, one line each."""
    nested: tuple[str, ...] = ()
    """Columns of JSON lines with objects or lists, which are no text."""


def how_to_go_on(bad_rows: int, *, may_set_aside: bool) -> str:
    """Return what to do about rows that do not parse."""
    return "correct the file" + (
        f", or set them aside with --max-bad-rows {bad_rows}" if may_set_aside else ""
    )
