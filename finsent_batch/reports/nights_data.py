"""The data of a report on the last nights of a feed: what each found, and what became of it."""

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from ..errors import UsageError
from ..io.sql import read_sql
from ..queries.days import Days
from ..reviews.accuracy import ALL_MONTHS, accuracies_of
from ..store.nights import HELD
from ..store.publications import records
from ..store.store import Store
from .config import ReportConfig


@dataclass(frozen=True, kw_only=True)
class NightRow:
    """One night as it was judged last."""

    night: date
    status: str
    reason: str | None
    run_id: str
    model_fingerprint: str
    figures: dict[str, float | None]
    compared: dict[str, Any]
    """`unusual`, `bands`, `sources` and `columns`, as in a run's summary."""

    @property
    def held(self) -> bool:
        """Whether it was held back."""
        return self.status == HELD

    @property
    def unusual(self) -> list[str]:
        """The figures outside of their bands."""
        names: list[str] = self.compared["unusual"]
        return names


@dataclass(kw_only=True)
class NightsData:
    """The last nights of a feed, oldest first; of a store without nights all is empty."""

    store: str
    feed: str = ""
    other_feeds: list[str] = field(default_factory=list)
    nights: list[NightRow] = field(default_factory=list)
    reviewed: list[dict[str, Any]] = field(default_factory=list)
    """Accuracy by review of the last night's model, by month; see `reviews.accuracy`."""

    @property
    def last_figures(self) -> dict[str, float | None]:
        """The figures of the last night, which gates judge."""
        return self.nights[-1].figures if self.nights else {}


def check_nights(config: ReportConfig, days: Days | None) -> None:
    """Refuse a report on nights that is one on a run or on days, too.

    Raises:
        UsageError: it would be.
    """
    if config.feed is not None and config.nights is None:
        raise UsageError("--feed is for a report on nights: add --nights 30")
    if config.nights is not None and (days is not None or config.run is not None):
        raise UsageError(
            "--nights is a report on the last nights, --run on one run, --since, --until and "
            "--all on days: choose"
        )


def gather_nights(config: ReportConfig) -> NightsData:
    """Read the last nights of a feed.

    Raises:
        UsageError: there is no such feed.
        FinsentError: the store cannot be read.
    """
    with Store.open(config.store, read_only=True) as store:
        data = NightsData(store=str(store.path))
        found = store.query("SELECT feed FROM nights GROUP BY feed ORDER BY max(recorded_at) DESC")
        feeds = [row[0] for row in found]
        if config.feed is not None and config.feed not in feeds:
            known = f"it has {', '.join(feeds[:5])}" if feeds else "it has none yet"
            raise UsageError(f"--feed: the store {store.path} has no {config.feed!r}; {known}")
        if not feeds:
            return data
        data.feed = config.feed or feeds[0]
        data.other_feeds = [feed for feed in feeds if feed != data.feed]
        rows = records(store, read_sql("report/nights"), [data.feed, config.nights])
        data.nights = [_night(row) for row in rows]
        shares = accuracies_of(store, data.nights[-1].model_fingerprint)
        data.reviewed = [asdict(share) for share in shares if share.month != ALL_MONTHS]
        return data


def _night(row: dict[str, Any]) -> NightRow:
    compared = json.loads(row.pop("compared") or "null") or {}
    unusual = json.loads(row.pop("unusual") or "[]")
    nothing: dict[str, Any] = {"bands": {}, "sources": [], "columns": {}}
    row["figures"] = json.loads(row["figures"])
    return NightRow(**row, compared=nothing | compared | {"unusual": unusual})
