"""One run that scores texts as they come, a few thousand at a time: what SQL functions need."""

import time
from typing import Final

import pyarrow as pa

from ..config import ScoreConfig
from ..errors import TryAgainError
from ..io.arrow import ArrowSource
from ..labels import PROBABILITY_COLUMNS
from ..models.spec import ResolvedModel
from ..progress import StopRequest, no_progress
from ..scorers.base import Scorer
from ..store.score_index import ScoreIndex
from ..store.views import refresh_views
from .plan import make_plan
from .run import ScoreRun
from .run_record import record_run_end, record_run_start
from .score import open_run
from .score_stage import score_pending
from .summary import Summary

SCORES_SQL: Final = f"""
    SELECT headline_key, {", ".join(PROBABILITY_COLUMNS)} FROM scores
    WHERE model_fingerprint = $1"""
"""The scores of a model."""
# NaN for a headline of which the model makes nothing: it is not asked again.
_PLANNED_SQL: Final = f"""{SCORES_SQL} AND headline_key IN (SELECT headline_key FROM plan.plan_rows)
    UNION ALL SELECT headline_key, {", ".join(["CAST('NaN' AS FLOAT)"] * 3)} FROM plan.invalid"""


class TextRun:
    """A model that scores texts for a store, whose records have it as one run.

    The store is open during `score` only; the model stays loaded in `scorer`.
    """

    def __init__(self, config: ScoreConfig, model: ResolvedModel) -> None:
        self.model = model
        self.scorer: Scorer | None = None
        self._config = config
        self._summary: Summary | None = None

    def score(self, texts: pa.Array) -> ScoreIndex:
        """Score those of the texts that the store lacks; return the scores of all of them.

        Raises:
            TryAgainError: the model is no longer the one of the first texts, or the store is held.
            FinsentError: anything else expected that prevents it.
        """
        with open_run(self._config, no_progress, StopRequest()) as run:
            if run.model.fingerprint != self.model.fingerprint:
                raise TryAgainError(
                    f"model {run.config.model.model} changed since it was registered: register "
                    "it again"
                )
            run.scorer = self.scorer
            if self._summary is None:
                record_run_start(run)
                refresh_views(run.store)
            else:
                run.summary.run_id = self._summary.run_id
            found = _scored(run, texts, self._summary)
            self.scorer, self._summary = run.scorer, run.summary
        return found


def _scored(run: ScoreRun, texts: pa.Array, before: Summary | None) -> ScoreIndex:
    """Score texts that the store lacks; return the scores of all of them.

    The store has one run for all that the functions score: `before` is what it has done so far.
    """
    summary, began = run.summary, time.monotonic()
    summary.status = "failed"
    try:
        source = ArrowSource(pa.table({"text": texts}), "sql")
        plan = make_plan(run.store, [(source, "text")], run.model.fingerprint, run.progress)
        if plan.pending:
            score_pending(run, plan, run.progress)
        found = ScoreIndex.of_rows(run.store.connection, _PLANNED_SQL, run.model.fingerprint)
        _count(run, plan.rows)
        summary.status = "done"
        return found
    finally:
        summary.seconds["total"] = round(time.monotonic() - began, 3)
        if before is not None:
            _add(summary, before)
        record_run_end(run)


def _count(run: ScoreRun, rows: int) -> None:
    """Put into the summary how many texts were answered, and how."""
    [(scored, truncated)] = run.store.query(
        """SELECT count(*) FILTER (NOT truncated), count(*) FILTER (truncated) FROM scores
        WHERE model_fingerprint = ?
            AND headline_key IN (SELECT headline_key FROM plan.plan_rows)""",
        [run.model.fingerprint],
    )
    labelled = scored + truncated
    counted = run.summary.rows
    counted |= {"read": rows, "scored": scored, "truncated": truncated, "invalid": rows - labelled}
    counted["reused"] = labelled - counted["unique_scored"]


def _add(summary: Summary, before: Summary) -> None:
    """Add up two parts of one run, into the later one."""
    summary.tokens += before.tokens
    for status, count in before.rows.items():
        summary.rows[status] += count
    for stage, seconds in before.seconds.items():
        summary.seconds[stage] = round(summary.seconds[stage] + seconds, 3)
    summary.batching = summary.batching or before.batching
    summary.engine = summary.engine or before.engine
    summary.headlines_per_second = round(
        summary.rows["unique_scored"] / max(summary.seconds["score"], 1e-3), 1
    )
