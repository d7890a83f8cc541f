"""Days that news are chosen by."""

from dataclasses import dataclass
from datetime import date, timedelta

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Days:
    """The days from `first` to `last`, both included; None leaves an end open."""

    first: date | None
    last: date | None

    @property
    def named(self) -> str:
        """The days in words."""
        if self.first is None and self.last is None:
            return "all days"
        if self.first == self.last:
            return f"{self.first}"
        start = "the beginning" if self.first is None else f"{self.first}"
        return f"{start} to {'the end' if self.last is None else self.last}"

    def sql(self) -> str:
        """Return the condition that `news_time` is in these days; open at both ends, any row."""
        parts = []
        if self.first is not None:
            parts.append(f"news_time >= DATE '{self.first}'")
        if self.last is not None:
            parts.append(f"news_time < DATE '{self.last + timedelta(days=1)}'")
        return " AND ".join(parts) or "true"


def days_between(since: str | None, until: str | None) -> Days:
    """Return the days that `--since` and `--until` name.

    Raises:
        UsageError: one is no day, or the last is before the first.
    """
    first, last = (_day(text) for text in (since, until))
    if first and last and last < first:
        raise UsageError(f"--until {last} is before --since {first}: exchange them")
    return Days(first=first, last=last)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a day: write it as 2014-01-31") from None
