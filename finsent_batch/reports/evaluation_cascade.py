"""The part of an evaluation report on a cascade: agreement by threshold."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .charts import BARS, COLORS, INK, Chart, draw, percent_axis, short
from .page import Section, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = (0.34, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def cascade_section(metrics: Mapping[str, Any]) -> Section:
    """Return the section on the `cascade` of an evaluation's metrics."""
    cascade, name = metrics["cascade"], metrics["model"]
    sure, asked = cascade["sure"], f"{cascade['agreement']:.1%}"
    text = (
        f"Where {cascade['first']} is sure enough of its label, that is the answer; {name} answers "
        f"the other rows. Alone, {cascade['first']} is right in {cascade['first_accuracy']:.1%} "
        f"of the rows, {name} in {metrics['accuracy']:.1%}. "
    )
    condition = (
        f"has the labels of {name} in at least {asked} of the rows and is not less often right "
        "than the better of the two (McNemar's test, p < 0.05)"
    )
    if sure is None:
        text += f"At no threshold the cascade {condition}."
    else:
        text += f"{sure:g} is the lowest threshold at which the cascade {condition}: --sure auto."
    return Section(
        id="cascade",
        title="Cascade",
        text=text,
        charts=[_chart(cascade)],
        tables=[_table(cascade, name)],
    )


def _table(cascade: Mapping[str, Any], name: str) -> Table:
    rows = [
        (
            f"{row['sure']:g}" + (" (auto)" if row["sure"] == cascade["sure"] else ""),
            f"{row['first_share']:.1%}",
            f"{row['agreement']:.1%}",
            f"{row['accuracy']:.1%}",
            f"{row['p_value']:.3g}" + (", worse" if row["worse"] else ""),
        )
        for row in cascade["thresholds"]
        if row["sure"] in (*_SHOWN, cascade["sure"])
    ]
    head = ["sure from", f"answered by {short(cascade['first'])}", f"labels of {short(name)}",
            "accuracy", "McNemar's p"]  # fmt: skip
    return Table(head=head, rows=rows, numeric=frozenset(range(5)))


def _chart(cascade: Mapping[str, Any]) -> Chart:
    rows: Sequence[Mapping[str, Any]] = cascade["thresholds"]
    sures = [row["sure"] for row in rows]
    lines = (
        ("agreement", "labels of the larger model", COLORS["positive"], "-"),
        ("accuracy", "accuracy", COLORS["negative"], "--"),
        ("first_share", "rows that the first answers", BARS, ":"),
    )

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot(title="The cascade by threshold")
        for key, name, color, style in lines:
            axes.plot(sures, [row[key] for row in rows], style, color=color, label=name)
        axes.axhline(cascade["agreement"], color=INK, linewidth=0.6)
        if cascade["sure"] is not None:
            axes.axvline(cascade["sure"], color=INK, linewidth=0.8, linestyle="--")
        axes.set(xlim=(sures[0], 1), ylim=(0, 1.02), xlabel="how sure the first model must be")
        percent_axis(axes.yaxis)
        axes.legend(loc="lower left")

    said = ", ".join(
        f"from {row['sure']:g} {row['agreement']:.1%}" for row in rows if row["sure"] in _SHOWN
    )
    caption = "The horizontal line is the agreement that was asked for"
    caption += "." if cascade["sure"] is None else "; the vertical one the threshold found."
    return draw(
        "cascade", drawing, alt=f"Agreement by threshold: {said}.", caption=caption, height=3.2
    )
