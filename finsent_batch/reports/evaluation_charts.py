"""The charts of an evaluation report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..labels import LABELS
from ..metrics.classification import ReliabilityBin
from .charts import BARS, COLORS, INK, OTHER, Chart, draw, percent_axis, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]
_OURS, _THEIRS = COLORS["positive"], OTHER


def confusion(metrics: Mapping[str, Any], name: str) -> Chart:
    """Draw the confusion matrix, each row colored by its own shares."""
    counts = np.array(metrics["confusion"])
    columns = list(LABELS) if not metrics["missing"] else [*LABELS, "no answer"]
    counts = counts[:, : len(columns)]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot(title=f"Confusion: {short(metrics['model'], 30)}")
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolor="white", linewidth=2)
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            color = "white" if share > 0.5 else INK
            said = f"{count:,}\n{share:.0%}"
            axes.text(column + 0.5, row + 0.5, said, ha="center", va="center", color=color)
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
        axes.set_yticks(np.arange(len(LABELS)) + 0.5, LABELS)
        axes.set(xlabel="label predicted", ylabel="true label")
        axes.invert_yaxis()
        axes.grid(visible=False)

    right = ", ".join(f"{label} {shares[i, i]:.0%}" for i, label in enumerate(LABELS))
    alt = f"Confusion matrix of {short(metrics['model'])}. Predicted right: {right}."
    caption = "Rows, and their share of the rows with that true label: the darker, the larger."
    return draw(name, drawing, alt=alt, caption=caption, height=3.1)


def per_class(metrics: Mapping[str, Any], against: Mapping[str, Any] | None) -> Chart:
    """Draw the F1 of each class, beside the other model's."""
    sides = [(metrics, _OURS, "")] + ([(against, _THEIRS, "//")] if against else [])
    height = 0.7 / len(sides)

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.set_title("F1 by class", pad=38 if against else None)
        for i, (side, color, hatch) in enumerate(sides):
            values = [side["per_class"][label]["f1"] for label in LABELS]
            places = np.arange(len(LABELS)) + (i - (len(sides) - 1) / 2) * height
            axes.barh(places, values, height, color=color, hatch=hatch, edgecolor="white",
                      label=short(side["model"], 44))  # fmt: skip
            for place, value in zip(places, values, strict=True):
                axes.text(value + 0.02, place, f"{value:.3f}", va="center")
        axes.set_yticks(range(len(LABELS)), LABELS)
        axes.set(xlim=(0, 1.15), xticks=np.linspace(0, 1, 6), xlabel="F1, 0 to 1")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        if against:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98))

    said = "; ".join(
        f"{short(side['model'])}: "
        + ", ".join(f"{label} {side['per_class'][label]['f1']:.3f}" for label in LABELS)
        for side, _, _ in sides
    )
    return draw("per-class", drawing, alt=f"F1 by class. {said}.", height=2.9)


def reliability_diagram(bins: Sequence[ReliabilityBin], ece: float) -> Chart:
    """Draw accuracy against confidence, over the number of rows in each bin."""

    def drawing(figure: "Figure") -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.set_title(f"Reliability, expected calibration error {ece:.3f}")
        upper.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="perfectly calibrated")
        upper.plot(
            [b.confidence for b in bins], [b.accuracy for b in bins], "o-", color=_OURS,
            markersize=4, label="this model",
        )  # fmt: skip
        upper.set(ylabel="accuracy", ylim=(0, 1.02), xlim=(0.3, 1))
        upper.legend(loc="lower right")
        widths, middles = [b.high - b.low for b in bins], [(b.low + b.high) / 2 for b in bins]
        lower.bar(middles, [b.rows for b in bins], width=widths, color=BARS, edgecolor="white")
        lower.set(ylabel="rows", xlabel="confidence, mean of each bin")

    return draw(
        "reliability",
        drawing,
        alt=f"Accuracy against confidence in {len(bins)} bins; calibration error {ece:.3f}.",
        caption="Above the dashed line, the model is right more often than its confidence says; "
        "below it, less often.",
        height=3.4,
    )


def coverage(curve: Curve, against: Curve | None, names: Sequence[str]) -> Chart:
    """Draw accuracy against the share of rows answered, for every threshold."""

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot(title="Accuracy when uncertain rows are left out")
        sides = [(curve, _OURS, "-")] + ([(against, _THEIRS, "--")] if against else [])
        for (thresholds, covered, accuracy), color, style in sides:
            name = short(names[0 if style == "-" else 1], 24)
            axes.plot(covered, accuracy, style, color=color, label=name)
            for mark in (0.5, 0.7, 0.9):
                at = np.flatnonzero(thresholds >= mark)
                if style == "-" and len(at):
                    axes.plot(covered[at[-1]], accuracy[at[-1]], "o", color=color)
                    axes.annotate(f"≥ {mark}", (covered[at[-1]], accuracy[at[-1]]),
                                  (4, 6), textcoords="offset points")  # fmt: skip
        axes.margins(y=0.12)
        axes.set(xlim=(0, 1.02), xlabel="coverage: share of rows with this confidence or more")
        axes.set_ylabel("accuracy of those rows")
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        if against:
            axes.legend(loc="lower left")

    return draw(
        "coverage",
        drawing,
        alt="Line chart of accuracy against coverage as the confidence threshold falls.",
        caption="Dots mark thresholds of 0.9, 0.7 and 0.5; at the right end every row is answered.",
    )


def learning_curve(log: Sequence[Mapping[str, float]]) -> Chart:
    """Draw training loss by epoch, over what was measured on held-out rows after each epoch."""
    losses = [entry for entry in log if "loss" in entry]
    measured = "accuracy" if any("eval_accuracy" in entry for entry in log) else "loss"
    held_out = [entry for entry in log if f"eval_{measured}" in entry]

    def drawing(figure: "Figure") -> None:
        upper, lower = figure.subplots(2, 1, sharex=True)
        upper.set_title("Learning curve")
        upper.plot([e["epoch"] for e in losses], [e["loss"] for e in losses], color=_OURS)
        upper.set(ylabel="training loss", ylim=(0, None))
        values = [e[f"eval_{measured}"] for e in held_out]
        lower.plot([e["epoch"] for e in held_out], values, "o--", color=COLORS["negative"])
        lower.set(ylabel=f"held-out {measured}", xlabel="epoch")
        if measured == "accuracy":
            percent_axis(lower.yaxis)

    return draw(
        "learning-curve",
        drawing,
        alt=f"Training loss of {len(losses)} log entries over held-out {measured} by epoch.",
        caption="From the training log in the model's directory.",
        height=3.4,
    )
