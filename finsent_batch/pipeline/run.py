"""The state that the stages of a run share."""

import logging
from dataclasses import dataclass, field

from ..config import ScoreConfig
from ..io.base import Sink, Source
from ..io.columns import NewsColumns
from ..io.text.staged import BadRow
from ..models.spec import ResolvedModel
from ..progress import Progress, StopRequest
from ..scorers.base import Scorer
from ..store.store import Store
from .news_times import NewsTimes
from .summary import Summary

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class ScoreTask:
    """One table to score: where it comes from, where it goes."""

    source: Source
    sink: Sink
    columns: NewsColumns
    source_column: str | None = None
    """The column that says where a headline is from, if there is one."""
    bad_rows: tuple[BadRow, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the summary has to say of this input."""
    input_state: str | None = None
    """What its file was before it was read; see `unchanged`."""
    times: NewsTimes | None = None
    """What was settled about its times, once it was planned."""

    @property
    def text_column(self) -> str:
        """The column with the headlines."""
        assert self.columns.text_column is not None
        return self.columns.text_column


@dataclass(kw_only=True)
class ScoreRun:
    """What the stages of one run share."""

    config: ScoreConfig
    store: Store
    model: ResolvedModel
    summary: Summary
    progress: Progress
    stop: StopRequest
    tasks: list[ScoreTask] = field(default_factory=list)
    scorer: Scorer | None = None
    """The model once it is loaded here, or from an earlier run; actors on Ray load their own."""

    def log(self, stage: str, done: str, **counts: int) -> None:
        """Log what a stage has done; only counts, never a headline."""
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        extra = {"run_id": self.summary.run_id, "stage": stage, "counts": counts}
        logger.info("%s: %s", done, told, extra=extra)
