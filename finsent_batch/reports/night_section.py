"""The section of a run report that puts the night beside those before it."""

from collections.abc import Mapping
from typing import Any, Final

from ..metrics.figures import FIGURES
from ..wording import counted
from .page import Section, Table
from .run_data import RunData

_BANDS: Final = (
    "A figure is unusual where it lies outside of the band of comparable nights: those of the same "
    "weekday where there are at least five, else those of the week or of the weekend."
)


def night_section(data: RunData) -> Section | None:
    """Return the figures of the night beside what is usual; None for runs of earlier versions."""
    if data.night is None:
        return None
    night = data.night
    text = f"Night of {night['night']}, compared with {counted(night['nights'], 'night')} of the "
    text += f"feed {night['feed']}. {_BANDS}"
    if data.reviewed is not None:
        share = data.reviewed
        text += f" People labelled {counted(share['headlines'], 'headline')} of this model "
        text += f"({share['month']}): it is right on {reviewed(share)} of such headlines."
    tables = figure_tables(data.figures, night)
    if night["sources"]:
        tables.append(source_table(night))
    if changes := column_changes(night):
        tables.append(Table(title="Columns", head=["changed since"], rows=[(c,) for c in changes]))
    return Section(id="night", title="Beside other nights", text=text, tables=tables)


def estimate(figures: Mapping[str, float | None]) -> str | None:
    """Return the estimated accuracy with its interval, None where it was not estimated."""
    middle = figures.get("estimated_accuracy")
    low, high = (figures.get(f"estimated_accuracy_{side}") for side in ("low", "high"))
    if middle is None or low is None or high is None:
        return None
    return f"{middle:.3f} ± {(high - low) / 2:.3f}"


def reviewed(share: Mapping[str, Any] | None) -> str | None:
    """Return the accuracy that people found, with its interval; None where nobody looked."""
    if share is None:
        return None
    low, high = share["accuracy_low"], share["accuracy_high"]
    return f"{share['accuracy']:.3f} ({low:.3f} to {high:.3f})"


def unusual(data: RunData) -> list[str]:
    """Return each figure that is unlike the nights before, in words."""
    night = data.night or {"unusual": []}
    return unusual_figures(data.figures, night)


def unusual_figures(figures: Mapping[str, float | None], night: Mapping[str, Any]) -> list[str]:
    """Return each figure of a night that is outside of its band, in words."""
    return [
        f"{name} {_said(figures[name])} (usual {_usual(night['bands'][name])})"
        for name in night["unusual"]
    ]


def column_changes(night: Mapping[str, Any]) -> list[str]:
    """Return what changed in the columns since the night before, in words."""
    return [f"{kind}: {name}" for kind, names in night["columns"].items() for name in names]


def figure_tables(figures: Mapping[str, float | None], night: Mapping[str, Any]) -> list[Table]:
    """Return the figures that have a band, the unusual ones first, and folded the others."""
    judged, others = [], []
    for name, meaning in FIGURES.items():
        value, band = figures.get(name), night["bands"].get(name)
        if band is not None:
            said = "unusual" if name in night["unusual"] else "usual"
            judged.append((name, _said(value), _usual(band), said, meaning))
        elif value is not None:
            others.append((name, _said(value), meaning))
    judged.sort(key=lambda row: row[3] != "unusual")
    compared = Table(
        title="Compared with other nights",
        head=["figure", "tonight", "band", "", "what it is"],
        rows=judged,
        numeric=frozenset({1}),
        wide=frozenset({4}),
    )
    alone = Table(
        title="All other figures",
        head=["figure", "tonight", "what it is"],
        rows=others,
        numeric=frozenset({1}),
        wide=frozenset({2}),
        folded=True,
    )
    return [*([compared] if judged else []), alone]


def source_table(night: Mapping[str, Any]) -> Table:
    """Return the sources that moved most, beside what is usual for them."""
    rows = [
        (
            source["source"] or "(none)",
            f"{source['rows']:,}",
            f"{source['share']:.1%}",
            f"{source['usual_share']:.1%}",
            _mood(source["mean_score"]),
            _mood(source["usual_mean_score"]),
        )
        for source in night["sources"]
    ]
    return Table(
        title="Sources that moved most",
        head=["source", "rows", "share", "usual share", "mood", "usual mood"],
        rows=rows,
        numeric=frozenset(range(1, 6)),
    )


def _usual(band: Mapping[str, Any]) -> str:
    low, high = band["low"], band["high"]
    if low is None:
        return f"at most {_said(high)}"
    return f"at least {_said(low)}" if high is None else f"{_said(low)} to {_said(high)}"


def _said(value: float | None) -> str:
    if value is None:
        return "–"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _mood(score: float | None) -> str:
    return "–" if score is None else f"{score:+.3f}"
