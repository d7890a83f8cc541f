"""Settings of `review export` and `review import`."""

from dataclasses import dataclass, field
from pathlib import Path

from ..config import StoreConfig
from ..settings import Settings


@dataclass(frozen=True, kw_only=True)
class ReviewExportConfig(Settings):
    """Headlines to be drawn for people to label."""

    output: Path
    """The CSV file that they fill."""
    rows: int = 200
    run: str | None = None
    """Draw from what this run published, by its id or the id's beginning; None: from all."""
    model: str | None = None
    """Draw from what this model labelled, by name or fingerprint; None: from all."""
    since: str | None = None
    until: str | None = None
    """First and last day of the news to draw from, such as `2014-01-31`."""
    seed: int = 0
    show_labels: bool = False
    """Whether reviewers see the model's label, which sways them."""
    overwrite: bool = False
    store: StoreConfig = field(default_factory=StoreConfig)


@dataclass(frozen=True, kw_only=True)
class ReviewImportConfig(Settings):
    """Answers to be kept in the store."""

    input: Path
    """A file that `review export` wrote, with the column `label` filled."""
    reviewer: str | None = None
    """Whose answers those are that no column `reviewer` names."""
    label_map: tuple[tuple[str, str], ...] = ()
    encoding: str = "utf-8"
    store: StoreConfig = field(default_factory=StoreConfig)
