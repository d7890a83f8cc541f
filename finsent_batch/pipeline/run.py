"""The state that the stages of a run share."""

import logging
from dataclasses import dataclass, field

from ..config import ScoreConfig
from ..io.base import Sink, Source
from ..io.csv_reader import BadRow
from ..models.contents import ModelState
from ..models.spec import ModelSpec
from ..progress import Progress, StopRequest
from ..store.store import Store
from .summary import Summary

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Job:
    """One table to score: where it comes from, where it goes."""

    source: Source
    sink: Sink
    text_column: str
    bad_rows: tuple[BadRow, ...] = ()


@dataclass(kw_only=True)
class Run:
    """What the stages of one run share."""

    config: ScoreConfig
    store: Store
    spec: ModelSpec
    device: str
    weights: str
    fingerprint: str
    files: ModelState
    """The model's files as they were when the fingerprint was taken."""
    summary: Summary
    progress: Progress
    stop: StopRequest
    jobs: list[Job] = field(default_factory=list)

    def log(self, stage: str, done: str, **counts: int) -> None:
        """Log what a stage has done; only counts, never a headline."""
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        extra = {"run_id": self.summary.run_id, "stage": stage, "counts": counts}
        logger.info("%s: %s", done, told, extra=extra)
