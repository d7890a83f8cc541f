"""The nights that a store has seen: what each run found before it published."""

import json
import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from .store import Store, utc_now

PUBLISHED: Final = "published"
HELD: Final = "held"


@dataclass(frozen=True, kw_only=True)
class Night:
    """What a run found on one night of one feed."""

    run_id: str
    night: date
    """The day that most rows are of; without readable times the day of the run."""
    feed: str
    status: str
    """`PUBLISHED` or `HELD`."""
    reason: str | None = None
    """Why it was held back."""
    model_fingerprint: str
    figures: dict[str, float | None]
    details: dict[str, Any] = field(default_factory=dict)
    """`labels` and `confidence` (counts), `sources` and `columns`."""


def feed_of(path: str, table: str | None) -> str:
    """Return what the nights of one feed have in common: their path but for numbers and dates.

    All numbers of the file's name are left out, of a folder's only what is nothing else,
    `month=01` too, or has four digits: `eu2/2014/06.csv` is the feed `eu2/#/#.csv`.
    """
    *folders, name = path.split("/")
    parts = [re.sub(r"^(\w+=)?[\d_.-]*\d[\d_.-]*$|\d{4}[\d_.-]*", r"\1#", part) for part in folders]
    parts.append(re.sub(r"\d+([-_.T]?\d+)*", "#", name))
    return "/".join(parts) + (f"::{table}" if table else "")


def record_night(store: Store, night: Night) -> None:
    """Keep a night in the store, in the place of what its run found earlier."""
    store.connection.execute("DELETE FROM nights WHERE run_id = ?", [night.run_id])
    store.insert(
        "nights",
        {
            "run_id": night.run_id,
            "recorded_at": store.after("nights", "recorded_at", utc_now()),
            "night": night.night,
            "feed": night.feed,
            "status": night.status,
            "reason": night.reason,
            "model_fingerprint": night.model_fingerprint,
            "figures": json.dumps(night.figures),
            "details": json.dumps(night.details),
        },
    )


def nights_before(store: Store, feed: str, night: date, limit: int) -> list[Night]:
    """Return the published nights of a feed that a night is compared with, oldest first.

    They are the last `limit` recorded, each day once as it was published last, the night's own
    day left out: what is run again decides alike.
    """
    rows = store.query(
        """SELECT run_id, night, feed, status, reason, model_fingerprint, figures, details
        FROM nights WHERE feed = $1 AND status = 'published' AND night <> $2
        QUALIFY row_number() OVER (PARTITION BY night ORDER BY recorded_at DESC) = 1
        ORDER BY recorded_at DESC LIMIT $3""",
        [feed, night, limit],
    )
    names = list(Night.__dataclass_fields__)
    found = [dict(zip(names, row, strict=True)) for row in reversed(rows)]
    return [
        Night(**row | {key: json.loads(row[key]) for key in ("figures", "details")})
        for row in found
    ]
