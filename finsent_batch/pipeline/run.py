"""The state that the stages of a run share."""

import logging
from dataclasses import dataclass, field

from ..config import ModelConfig, ScoreConfig
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


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """The model that is asked before a run's own, and how sure its answers must be."""

    config: ModelConfig
    model: ResolvedModel
    sure: float
    """The least probability of a label that is taken from it, from 0.34 to 1."""
    sure_from: str
    """`given`, or `evaluation` where it is the one that an evaluation found."""
    fingerprint: str
    """Of both models and the threshold."""


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
    cascade: Cascade | None = None
    first_scorer: Scorer | None = None
    """The cascade's first model, as `scorer` is the run's own."""

    @property
    def models(self) -> list[ResolvedModel]:
        """The models whose answers the run gives, by the number in `plan.answers`."""
        return [self.model] if self.cascade is None else [self.model, self.cascade.model]

    @property
    def fingerprint(self) -> str:
        """What decides the run's answers: the fingerprint of its model, or of its cascade."""
        return self.model.fingerprint if self.cascade is None else self.cascade.fingerprint

    def log(self, stage: str, done: str, **counts: int) -> None:
        """Log what a stage has done; only counts, never a headline."""
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        extra = {"run_id": self.summary.run_id, "stage": stage, "counts": counts}
        logger.info("%s: %s", done, told, extra=extra)
