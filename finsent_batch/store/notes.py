"""Notes beside a number: rows that it leaves out, guesses or counts twice."""

from collections import Counter
from collections.abc import Sequence

from ..io.times.settle import TimeCounts
from ..wording import in_shell
from .publications import Publication

_NAMED = 3


def notes_on(
    publications: Sequence[Publication], counts: Sequence[TimeCounts], dated: Sequence[bool]
) -> list[str]:
    """Return what is to be said about published rows: one line each.

    `counts` are of each publication; `dated` says whether it has a date column.
    """
    found = []
    without = [p for p, has in zip(publications, dated, strict=True) if not has]
    if without:
        found.append(
            f"{listed(_inputs(without))} has no column for the time of the news: its rows count on "
            "the day they were scored; name one with --date-column when scoring, or with --param "
            "date_column=…"
        )
    total = sum(counts, TimeCounts())
    if total.undated:
        of = [p for p, count in zip(publications, counts, strict=True) if count.undated]
        found.append(
            f"{total.undated:,} of {total.dated + total.undated:,} rows have no time that can be "
            f"read and are in no day: {said_of(total.faults)}; they are of {listed(_inputs(of))}"
        )
    return found + _on_rows(publications)


def _on_rows(publications: Sequence[Publication]) -> list[str]:
    """Return what is to be said of any number: trials, and news that count twice."""
    found = [
        f"{p.path} holds the first rows of its input alone (--limit)"
        for p in publications
        if p.limited
    ]
    seen: dict[str, str] = {}
    for publication in publications:
        for content, name in zip(publication.contents, publication.made_from, strict=False):
            other = seen.setdefault(content, name)
            if other != name:
                found.append(twice(other, name))
    return found


def twice(one: str, other: str) -> str:
    """Return what is to be said of two inputs that hold the same news."""
    return (
        f"{other} holds the same headlines at the same times as {one}: both are counted; "
        f"to count one, run finsent-batch store forget {in_shell(other)}"
    )


def said_of(faults: dict[str, int]) -> str:
    """Return reasons with their numbers of rows, the most frequent first."""
    return ", ".join(f"{reason} ({rows:,})" for reason, rows in Counter(faults).most_common(5))


def listed(names: Sequence[str]) -> str:
    """Return names as they can stand in a message, the first of many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _inputs(publications: Sequence[Publication]) -> list[str]:
    return [name for p in publications for name in (p.made_from or (p.path,))]
