"""Settings of `report`."""

from dataclasses import dataclass, field
from pathlib import Path

from ..config import StoreConfig
from ..settings import Settings


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Settings):
    """A report on one run, on days or on nights."""

    store: StoreConfig = field(default_factory=StoreConfig)
    run: str | None = None
    """A run's id or its beginning; None takes the latest."""
    since: str | None = None
    until: str | None = None
    all_days: bool = False
    """First and last day of a report on days, such as `2014-01-31`, or that it is on all."""
    nights: int | None = None
    """Report on the last so many nights of a feed."""
    feed: str | None = None
    """Of which, as `query nights` names it; None takes the feed that was judged last."""
    output: Path | None = None
    format: str | None = None
    """`html`, `md` or `json`; None goes by the output's suffix."""
    gates: tuple[str, ...] = ()
    baseline_runs: int = 14
    """How many earlier runs of the same model the run is compared with."""
    headlines: int = 10
    """How many of the most negative and of the most positive headlines are shown."""
    date_column: str | None = None
