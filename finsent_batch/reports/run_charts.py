"""The charts of a run report."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..labels import LABELS
from ..metrics.histograms import CONFIDENCE_EDGES, SCORE_EDGES
from .charts import BARS, COLORS, INK, OTHER, Chart, draw, histogram, percent_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def label_mix(labels: Mapping[str, int], baseline: Mapping[str, int]) -> Chart:
    """Draw the share of each label, marked with its share in earlier runs."""
    total, before = sum(labels.values()), sum(baseline.values())

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot(title="Label mix")
        shares = [labels[label] / total for label in LABELS]
        axes.barh(LABELS, shares, color=[COLORS[label] for label in LABELS], height=0.6)
        for row, (label, share) in enumerate(zip(LABELS, shares, strict=True)):
            axes.text(1.04, row, f"{share:.1%} ({labels[label]:,})", va="center")
        if before:
            old = [baseline[label] / before for label in LABELS]
            places = range(len(LABELS))
            axes.plot(old, places, "d", color=INK, markersize=5, label="earlier runs")
            axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98))
        percent_axis(axes.xaxis)
        axes.set(xlim=(0, 1.45), xlabel="share of labelled rows", xticks=[0, 0.25, 0.5, 0.75, 1])
        axes.grid(visible=False, axis="y")

    said = ", ".join(f"{label} {labels[label] / total:.1%}" for label in LABELS)
    return draw("label-mix", drawing, alt=f"Bar chart of the label mix: {said}.", height=2.3)


def score_distribution(counts: Sequence[int], baseline: Sequence[int] | None) -> Chart:
    """Draw the histogram of the sentiment score."""

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot(title="Sentiment score")
        histogram(axes, SCORE_EDGES, counts, baseline)
        axes.set(
            xlim=(-1, 1), xticks=[-1, -0.5, 0, 0.5, 1], xlabel="P(positive) − P(negative), −1 to 1"
        )

    return draw(
        "score-distribution",
        drawing,
        alt=f"Histogram of the sentiment score of {sum(counts):,} rows, −1 to 1.",
        caption="Neutral headlines are near zero, clear ones at both ends.",
    )


def confidence(counts: Sequence[int], baseline: Sequence[int] | None) -> Chart:
    """Draw the histogram of the highest probability."""
    sure = sum(n for n, edge in zip(counts, CONFIDENCE_EDGES, strict=False) if edge >= 0.9)
    share = sure / max(1, sum(counts))

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot(title="Confidence")
        histogram(axes, CONFIDENCE_EDGES, counts, baseline)
        axes.set(xlim=(0.3, 1), xlabel="highest of the three probabilities")

    return draw(
        "confidence-histogram",
        drawing,
        alt=f"Histogram of the confidence of {sum(counts):,} rows; {share:.0%} are at 0.9 or more.",
        caption=f"{share:.0%} of the rows have a confidence of 0.9 or more.",
    )


def by_time(rows: Sequence[Mapping[str, Any]], unit: str) -> Chart:
    """Draw the mean score by hour or day, over the number of headlines."""
    times: list[datetime] = [row["time"] for row in rows]
    means: list[float] = [row["mean_score"] for row in rows]

    def drawing(figure: "Figure") -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        upper.set_title(f"Sentiment by {unit}")
        marker = "o" if len(times) <= 40 else None
        upper.axhline(0, color=INK, linewidth=0.8)
        upper.plot(times, means, color=COLORS["positive"], marker=marker, markersize=3.5)
        upper.set_ylabel("mean score")
        width = min((b - a for a, b in pairwise(times)), default=None)
        lower.bar(times, [row["headlines"] for row in rows], width=width or 0.04, color=BARS)
        lower.set(ylabel="headlines", xlabel=f"time of publication (UTC), {_span(times)}")
        _date_axis(lower)

    low, high = min(means), max(means)
    return draw(
        "sentiment-by-time",
        drawing,
        alt=f"Mean sentiment score of {len(rows)} {unit}s, {low:+.2f} to {high:+.2f}, over counts.",
        caption="Below zero, negative headlines prevail. The mean of a few headlines varies a lot.",
        height=3.4,
    )


def _date_axis(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    # Its offset names the last tick's day alone; the axis' own label names all of them.
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(
            locator,
            formats=["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S"],
            zero_formats=["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
            show_offset=False,
        )
    )
    axes.grid(visible=False, axis="x")


def _span(times: Sequence[datetime]) -> str:
    """Return the days of the times in words, such as `6 Jan 2014` or `6 Jan to 8 Jan 2014`."""
    first, last = (f"{time.day} {time:%b %Y}" for time in (min(times), max(times)))
    if first == last:
        return first
    return f"{first[:-5] if first[-5:] == last[-5:] else first} to {last}"


def label_history(runs: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw the label shares of the earlier runs, oldest first, and of this one, last."""
    places = range(len(runs))

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.set_title("Label mix, run by run", pad=24)
        for label, style in zip(LABELS, (":", "--", "-"), strict=True):
            shares = [run["labels"][label] / max(1, sum(run["labels"].values())) for run in runs]
            axes.plot(places, shares, style, marker="o", markersize=3.5, color=COLORS[label],
                      label=label)  # fmt: skip
        shown = sorted({round(i * (len(runs) - 1) / 4) for i in range(5)})
        starts = [run["started_at"] for run in runs]
        form = "%d %b" if starts[-1].date() > starts[0].date() else "%H:%M:%S"
        axes.set_xticks(shown, [f"{starts[i]:{form}}" for i in shown])
        axes.set(ylim=(0, 1), xlabel="start of each run (UTC), this run last")
        axes.set_ylabel("share of labelled rows")
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(-0.02, 0.98))
        percent_axis(axes.yaxis)

    return draw(
        "label-history",
        drawing,
        alt=f"Line chart of the shares of the three labels in the last {len(runs)} runs.",
    )


def work(rows: Mapping[str, int]) -> Chart:
    """Draw how many rows were scored anew, answered from the store, and not scored."""
    parts = {
        "scored anew": (rows["unique_scored"], BARS),
        "reused": (rows["reused"], OTHER),
        "not scored": (rows["empty"] + rows["invalid"], COLORS["neutral"]),
    }
    total = max(1, rows["read"])

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot(title="Where the rows' scores came from")
        names, values = list(parts), [count for count, _ in parts.values()]
        axes.barh(names, values, color=[color for _, color in parts.values()], height=0.6)
        for row, value in enumerate(values):
            axes.text(value + total * 0.02, row, f"{value:,} ({value / total:.1%})", va="center")
        axes.set(xlim=(0, total * 1.32), xlabel="rows")
        axes.locator_params(axis="x", nbins=5)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")

    said = ", ".join(f"{name} {count:,}" for name, (count, _) in parts.items())
    return draw("reuse", drawing, alt=f"Bar chart of rows: {said}.", height=2.1)
