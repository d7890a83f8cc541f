"""The runs of a store, and how little of an id tells one from all others."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any

from ..config import StoreConfig
from ..errors import UsageError
from ..store.publications import records
from ..store.store import Store
from .run import run_query

_SHORTEST = 8
_IDLE = (
    "status = 'done' AND coalesce(rows_read = 0 "
    "AND CAST(json_extract(summary, '$.files.unchanged') AS BIGINT) > 0, false)"
)
"""Runs that found all of their inputs published already."""


@dataclass(frozen=True, kw_only=True)
class RunList:
    """The latest runs, as `run_history` gives them."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    short_ids: dict[str, str]
    """The beginning of each run's id that no other run of the store shares."""

    @property
    def short_rows(self) -> list[list[object]]:
        """The rows with the ids cut short."""
        return [
            [self.short_ids.get(v, v) if isinstance(v, str) else v for v in r] for r in self.rows
        ]


def list_runs(store: StoreConfig, limit: int) -> RunList:
    """Return the latest runs of the store.

    Raises:
        MissingInputError, TryAgainError: as `run_query`.
    """
    frame = run_query("run_history", store, parameters=[("limit", str(limit))])
    with Store.open(store, read_only=True) as opened:
        ids = [row[0] for row in opened.query("SELECT run_id FROM runs ORDER BY run_id")]
    length = max((_shared(*pair) + 1 for pair in pairwise(ids)), default=0)
    length = max(length, _SHORTEST)
    return RunList(
        columns=tuple(frame.columns),
        rows=frame.rows(),
        short_ids={run_id: run_id[:length].rstrip("-") for run_id in ids},
    )


def find_run(store: Store, wanted: str | None, columns: Sequence[str]) -> dict[str, Any] | None:
    """Return the latest run, or that whose id begins so; None where there has been none.

    One that found all of its inputs published already is the latest only if all were such.

    Raises:
        UsageError: no run's id begins so, or those of several.
    """
    found = records(
        store,
        f"""SELECT {", ".join(columns)} FROM runs WHERE starts_with(run_id, ?)
        ORDER BY {_IDLE}, started_at DESC LIMIT 2""",
        [wanted or ""],
    )
    if wanted is None:
        return found[0] if found else None
    if len(found) == 1 and wanted:
        return found[0]
    what = f"several runs begin with {wanted!r}" if found else f"there is no run {wanted!r}"
    raise UsageError(f"--run: {what} in the store {store.path}; finsent-batch runs lists them")


def _shared(one: str, other: str) -> int:
    """Return how many characters two ids begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
