"""What a run would publish, counted before it is: one pass over the planned rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ...errors import TryAgainError
from ...labels import LABELS
from ...metrics.histograms import CONFIDENCE_EDGES, SCORE_EDGES
from ..plan import Plan
from ..publish import changed_meanwhile
from ..result_stream import LABELLED_ROWS, STATUSES
from ..run import ScoreRun
from ..summary import Summary

KEPT: Final = 100
"""The most sources that are kept of a night: those with the most rows."""


def _bin_sql(value: str, edges: tuple[float, ...]) -> str:
    """Return the bin of a value as `metrics.histograms` has it."""
    last, width = len(edges) - 2, (edges[-1] - edges[0]) / (len(edges) - 1)
    bin_ = f"CAST(floor(({value} - ({edges[0]})) / {width} + 1e-4) AS INTEGER)"
    return f"greatest(0, least({last}, {bin_}))"


_ROWS: Final = f"""
    SELECT *, {_bin_sql("sure", CONFIDENCE_EDGES)} AS sure_bin,
        {_bin_sql("score", SCORE_EDGES)} AS score_bin
    FROM (SELECT *, greatest(p_negative, p_neutral, p_positive) AS sure,
        p_positive - p_negative AS score FROM ({LABELLED_ROWS}))"""
_COUNTS: Final = f"""
    WITH counts AS MATERIALIZED (
        SELECT GROUPING(source) = 0 AS by_source, source, file, status, label, sure_bin, score_bin,
            count(*) AS rows, count(label) AS labelled, sum(sure) AS sures, sum(score) AS scores
        FROM ({_ROWS})
        GROUP BY GROUPING SETS ((file, status, label, sure_bin, score_bin), (source)))
    FROM counts WHERE NOT by_source
    UNION ALL
    FROM (FROM counts WHERE by_source AND source IS NOT NULL
        ORDER BY rows DESC, source LIMIT {KEPT})"""


@dataclass(kw_only=True)
class AuditCounts:
    """Rows that would be published, counted as `Counts` counts those that are."""

    status: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    histograms: dict[str, list[int]] = field(
        default_factory=lambda: {
            "confidence": [0] * (len(CONFIDENCE_EDGES) - 1),
            "sentiment_score": [0] * (len(SCORE_EDGES) - 1),
        }
    )
    files: dict[int, dict[str, int]] = field(default_factory=dict)
    """The rows of each input by status."""
    sources: dict[str, dict[str, float | None]] | None = None
    """Rows, labelled rows and mean score of each source; None without such a column."""
    confidence: float = 0.0
    """The sum of the labels' probabilities."""
    score: float = 0.0
    """The sum of their scores."""
    figures: dict[str, float | None] = field(default_factory=dict)
    distinct: int = 0
    unscorable: int = 0
    """Distinct headlines that the model gave no numbers for."""

    def note(self, summary: Summary) -> None:
        """Put the counts into the summary of a run that publishes nothing."""
        rows = summary.rows
        rows |= self.status | {"read": sum(self.status.values())}
        labelled = rows["scored"] + rows["truncated"]
        rows["reused"] = labelled - rows["unique_scored"]
        rows["duplicate"] = labelled - (self.distinct - self.unscorable)
        summary.labels = dict(self.labels)
        summary.histograms = self.histograms

    def add(self, found: Sequence[Any]) -> None:
        """Add a row of `_COUNTS`."""
        by_source, source, file, status, label, sure, how, rows, labelled, sures, scores = found
        if by_source:
            if self.sources is not None:
                mean = round(scores / labelled, 6) if labelled else None
                self.sources[source] = {"rows": rows, "labelled": labelled, "mean_score": mean}
            return
        self.status[STATUSES[status]] += rows
        self.files[file][STATUSES[status]] += rows
        if label is not None:
            self.labels[LABELS[label]] += rows
            self.histograms["confidence"][sure] += rows
            self.histograms["sentiment_score"][how] += rows
            self.confidence += sures
            self.score += scores


def count_rows(run: ScoreRun, plan: Plan) -> AuditCounts:
    """Count what would be published.

    Raises:
        TryAgainError: a planned headline was no longer there when its text was read.
    """
    counts = AuditCounts(distinct=plan.distinct)
    counts.files = {number: dict.fromkeys(STATUSES, 0) for number in range(len(run.tasks))}
    if any(task.source_column for task in run.tasks):
        counts.sources = {}
    found = run.store.query(_COUNTS)
    for row in sorted(found, key=lambda row: (-row[7], row[1] or "")):  # most rows first
        if row[3] is None and not row[0]:
            raise TryAgainError(changed_meanwhile(plan.sources[row[2]]))
        counts.add(row)
    [(counts.unscorable,)] = run.store.query(
        "SELECT count(DISTINCT headline_key) FROM plan.invalid"
    )
    return counts
