"""The figures of what a run would publish, before it is."""

from ..plan import Plan
from ..run import ScoreRun
from .counts import AuditCounts, count_rows


def measure(run: ScoreRun, plan: Plan) -> AuditCounts:
    """Count what would be published, and return the counts with their figures.

    Raises:
        TryAgainError: a planned headline was no longer there when its text was read.
    """
    counts = count_rows(run, plan)
    labelled = sum(counts.labels.values())
    counts.figures = {
        **_shares(run, plan, counts),
        "mean_score": counts.score / labelled if labelled else None,
        "mean_confidence": counts.confidence / labelled if labelled else None,
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
