"""The figures of what a run would publish, before it is."""

from dataclasses import dataclass, field
from typing import Final

from ...errors import TryAgainError
from ...labels import LABELS
from ...metrics.histograms import CONFIDENCE_EDGES, SCORE_EDGES
from ..plan import Plan
from ..publish import changed_meanwhile
from ..result_stream import LABELLED_ROWS
from ..run import ScoreRun
from ..summary import Summary

_STATUSES: Final = ("scored", "truncated", "empty", "invalid")


def _bin_sql(value: str, edges: tuple[float, ...]) -> str:
    """Return the bin of a value as `metrics.histograms` has it."""
    last, width = len(edges) - 2, (edges[-1] - edges[0]) / (len(edges) - 1)
    bin_ = f"CAST(floor(({value} - ({edges[0]})) / {width} + 1e-4) AS INTEGER)"
    return f"greatest(0, least({last}, {bin_}))"


_CONFIDENCE: Final = "greatest(p_negative, p_neutral, p_positive)"
_COUNTS: Final = f"""
    SELECT file, score_status, sentiment, {_bin_sql(_CONFIDENCE, CONFIDENCE_EDGES)} AS confidence,
        {_bin_sql("sentiment_score", SCORE_EDGES)} AS score, count(*) AS rows,
        sum({_CONFIDENCE}), sum(sentiment_score)
    FROM ({LABELLED_ROWS}) GROUP BY ALL"""


@dataclass(kw_only=True)
class AuditCounts:
    """Rows that would be published, counted as `Counts` counts those that are."""

    status: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STATUSES, 0))
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    histograms: dict[str, list[int]] = field(
        default_factory=lambda: {
            "confidence": [0] * (len(CONFIDENCE_EDGES) - 1),
            "sentiment_score": [0] * (len(SCORE_EDGES) - 1),
        }
    )
    files: dict[int, dict[str, int]] = field(default_factory=dict)
    """The rows of each input by status."""
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


def measure(run: ScoreRun, plan: Plan) -> AuditCounts:
    """Count what would be published, and return the counts with their figures.

    Raises:
        TryAgainError: a planned headline was no longer there when its text was read.
    """
    counts = AuditCounts(distinct=plan.distinct)
    for number in range(len(run.tasks)):
        counts.files[number] = dict.fromkeys(_STATUSES, 0)
    confidence = score = 0.0
    for file, status, label, sure, how, rows, sures, scores in run.store.query(
        _COUNTS, [run.model.fingerprint]
    ):
        if status is None:
            raise TryAgainError(changed_meanwhile(plan.sources[file]))
        counts.status[status] += rows
        counts.files[file][status] += rows
        if label is not None:
            counts.labels[label] += rows
            counts.histograms["confidence"][sure] += rows
            counts.histograms["sentiment_score"][how] += rows
            confidence, score = confidence + sures, score + scores
    [(counts.unscorable,)] = run.store.query(
        "SELECT count(DISTINCT headline_key) FROM plan.invalid"
    )
    labelled = sum(counts.labels.values())
    counts.figures = {
        **_shares(run, plan, counts),
        "mean_score": score / labelled if labelled else None,
        "mean_confidence": confidence / labelled if labelled else None,
        **_least(run, counts),
    }
    return counts


def _shares(run: ScoreRun, plan: Plan, counts: AuditCounts) -> dict[str, float | None]:
    labelled, times = sum(counts.labels.values()), run.summary.times
    return {
        "rows": plan.rows,
        "labelled_share": _share(labelled, plan.rows),
        "unlabelled_share": _share(plan.rows - labelled, plan.rows),
        **{
            f"{status}_share": _share(counts.status[status], plan.rows)
            for status in ("empty", "invalid", "truncated")
        },
        "dated_share": _share(times["dated"], times["dated"] + times["undated"]),
        "distinct_share": _share(plan.distinct, plan.texts),
        "reused_share": _share(labelled - run.summary.rows["unique_scored"], plan.rows),
        **{f"{label}_share": _share(n, labelled) for label, n in counts.labels.items()},
    }


def _least(run: ScoreRun, counts: AuditCounts) -> dict[str, float | None]:
    """Return the figures of the worst of the inputs, each of its own."""
    totals = [sum(file.values()) for file in counts.files.values()]
    shares = [
        (file["scored"] + file["truncated"]) / total
        for file, total in zip(counts.files.values(), totals, strict=True)
        if total
    ]
    times = [task.times.counts for task in run.tasks if task.times is not None]
    dated = [t.dated / (t.dated + t.undated) for t in times if t.dated + t.undated]
    return {
        "least_rows": min(totals, default=0),
        "least_labelled_share": min(shares, default=None),
        "least_dated_share": min(dated, default=None),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
