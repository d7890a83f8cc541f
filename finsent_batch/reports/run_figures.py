"""What the charts of a run report show, as tables of figures, for forms without charts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..labels import LABELS
from ..metrics.histograms import CONFIDENCE_EDGES, SCORE_EDGES
from .page import Table
from .run_data import RunData


def sentiment(data: RunData, before: Mapping[str, Sequence[int]]) -> list[Table]:
    """Return the label mix and, where the run kept them, the two histograms.

    `before` are the counts of the earlier runs, by the same names.
    """
    counts = [data.labels[label] for label in LABELS]
    tables = [_shares("Label mix", "label", LABELS, counts, before.get("labels"))]
    for name, title, edges in (
        ("sentiment_score", "Sentiment score", SCORE_EDGES),
        ("confidence", "Confidence", CONFIDENCE_EDGES),
    ):
        if name in data.histograms:
            bins = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
            tables.append(_shares(title, name.replace("_", " "), bins, data.histograms[name],
                                  before.get(name)))  # fmt: skip
    return tables


def _shares(
    title: str,
    what: str,
    names: Sequence[str],
    counts: Sequence[int],
    before: Sequence[int] | None,
) -> Table:
    columns = [names, [f"{n:,}" for n in counts], _percent(counts)]
    head = [what, "rows", "share"]
    if before and sum(before):
        columns.append(_percent(before))
        head.append("earlier runs")
    rows = list(zip(*columns, strict=True))
    return Table(title=title, head=head, rows=rows, numeric=frozenset(range(1, len(head))))


def _percent(counts: Sequence[int]) -> list[str]:
    return [f"{count / max(1, sum(counts)):.1%}" for count in counts]


def label_history(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return the label shares of the earlier runs, oldest first, and of this one, last."""
    rows = [
        (
            f"{run['started_at']:%Y-%m-%d %H:%M}",
            *_percent([run["labels"][label] for label in LABELS]),
        )
        for run in runs
    ]
    head = ["start of the run (UTC)", *LABELS]
    title = "Label mix, run by run, this run last"
    return Table(title=title, head=head, rows=rows, numeric=frozenset({1, 2, 3}))


def work(rows: Mapping[str, int]) -> Table:
    """Return how many rows were scored anew, reused and not scored."""
    parts = ("scored anew", "reused", "not scored")
    counts = [rows["unique_scored"], rows["reused"], rows["empty"] + rows["invalid"]]
    return _shares("Where the rows' scores came from", "source", parts, counts, None)
