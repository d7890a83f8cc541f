"""The charts of a report on nights. What was held back is hatched and crossed, not just colored."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from ..labels import LABELS
from .charts import BARS, COLORS, INK, OTHER, SOFT, Chart, draw, percent_axis
from .nights_data import NightRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TICKS: Final = 5


def volume(nights: Sequence[NightRow]) -> Chart:
    """Draw the rows of each night beside what is usual for it, marked by what became of it."""
    rows = [night.figures["rows"] or 0 for night in nights]

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.set_title("Rows", pad=24)
        for place, (night, count) in enumerate(zip(nights, rows, strict=True)):
            look: dict[str, Any] = {"color": BARS}
            if night.held:
                look = {"facecolor": "white", "edgecolor": INK, "hatch": "////"}
            axes.bar(place, count, width=0.8, **look)
        _mark(axes, nights, rows)
        _bands(axes, nights, "rows")
        _nights_axis(axes, nights)
        # Bands of few nights may reach far beyond.
        axes.set_ylim(0, max(1, *rows) * 1.4)
        axes.locator_params(axis="y", nbins=5)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(-0.02, 0.98))

    held = sum(night.held for night in nights)
    return draw(
        "nights-rows",
        drawing,
        alt=f"Bar chart of the rows of {len(nights)} nights, {min(rows):,.0f} to {max(rows):,.0f}; "
        f"{held} held back.",
        caption="Bars of nights that were held back are hatched. A line ends where usual ends.",
    )


def accuracy(nights: Sequence[NightRow], reviewed: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Draw the estimated accuracy with its interval, and what reviewers found in a month."""
    name = "estimated_accuracy"
    middle = [value for night in nights if (value := night.figures.get(name)) is not None]
    if not middle:
        return None

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.set_title("Share of labels that are right", pad=24)
        low, high = (_values(nights, f"{name}_{end}") for end in ("low", "high"))
        axes.fill_between(range(len(nights)), low, high, color=BARS, alpha=0.35, linewidth=0)
        _line(axes, nights, name, "-o", COLORS["positive"], "estimated")
        for share in reviewed:
            of_month = [i for i, n in enumerate(nights) if f"{n.night:%Y-%m}" == share["month"]]
            if of_month:
                value = share["accuracy"]
                reach = [[value - share["accuracy_low"]], [share["accuracy_high"] - value]]
                axes.errorbar(
                    sum(of_month) / len(of_month), value, yerr=reach, fmt="D", color=INK,
                    markersize=6, capsize=4, label="by review, of the month",
                )  # fmt: skip
        handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        axes.legend(
            handles.values(),
            handles.keys(),
            ncols=2,
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.98),
        )
        _nights_axis(axes, nights)
        percent_axis(axes.yaxis)

    return draw(
        "nights-accuracy",
        drawing,
        alt=f"Line chart of the estimated accuracy of {len(middle)} nights, {min(middle):.2f} to "
        f"{max(middle):.2f}.",
        caption="The shade, and the bar at a diamond, are 95 % intervals.",
    )


def labels(nights: Sequence[NightRow]) -> Chart:
    """Draw the share of each label, night by night."""

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.set_title("Label mix", pad=24)
        for label, style, marker in zip(LABELS, (":", "--", "-"), "vso", strict=True):
            _line(axes, nights, f"{label}_share", f"{style}{marker}", COLORS[label], label)
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(-0.02, 0.98))
        _nights_axis(axes, nights)
        axes.set_ylim(0, 1)
        percent_axis(axes.yaxis)

    return draw(
        "nights-labels",
        drawing,
        alt=f"Line chart of the shares of the three labels in {len(nights)} nights.",
    )


def drift(nights: Sequence[NightRow]) -> Chart | None:
    """Draw the stability indices against comparable nights."""
    figures = {"psi_labels": "label mix", "psi_confidence": "confidence"}
    if not any(night.figures.get(name) is not None for night in nights for name in figures):
        return None

    def drawing(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.set_title("Drift against comparable nights (PSI)", pad=24)
        looks = (("-o", COLORS["positive"]), ("--s", OTHER))
        for (name, title), (style, color) in zip(figures.items(), looks, strict=True):
            _line(axes, nights, name, style, color, title)
        axes.legend(ncols=2, loc="lower left", bbox_to_anchor=(-0.02, 0.98))
        _nights_axis(axes, nights)
        axes.set_ylim(0)

    return draw(
        "nights-drift",
        drawing,
        alt=f"Line chart of the population stability indices of {len(nights)} nights.",
        caption="What is usual depends on the feed: the last night's bands are in the last table.",
    )


def _line(
    axes: "Axes", nights: Sequence[NightRow], name: str, style: str, color: str, title: str
) -> None:
    places, values = range(len(nights)), _values(nights, name)
    axes.plot(places, values, style, color=color, markersize=3.5, label=title)


def _values(nights: Sequence[NightRow], name: str) -> list[float]:
    """Return a figure night by night, NaN where it is not known: a gap of the line."""
    values = (night.figures.get(name) for night in nights)
    return [float("nan") if value is None else value for value in values]


def _mark(axes: "Axes", nights: Sequence[NightRow], tops: Sequence[float]) -> None:
    """Put a cross over each night that was held back, a triangle over one that is unusual."""
    kinds = {
        "held back": ("X", [i for i, n in enumerate(nights) if n.held]),
        "published, unusual": ("^", [i for i, n in enumerate(nights) if n.unusual and not n.held]),
    }
    rise = max(tops) * 0.06
    for title, (marker, places) in kinds.items():
        if places:
            heights = [tops[place] + rise for place in places]
            axes.plot(places, heights, marker, color=INK, markersize=7, linestyle="", label=title)


def _bands(axes: "Axes", nights: Sequence[NightRow], name: str) -> None:
    """Draw what was usual for each night as a line from its lower to its upper end."""
    bands = {i: n.compared["bands"].get(name) for i, n in enumerate(nights)}
    known = {
        i: band for i, band in bands.items() if band and None not in (band["low"], band["high"])
    }
    if known:
        lows, highs = ([band[end] for band in known.values()] for end in ("low", "high"))
        axes.vlines(list(known), lows, highs, color=SOFT, linewidth=1.6, label="usual")


def _nights_axis(axes: "Axes", nights: Sequence[NightRow]) -> None:
    last = len(nights) - 1
    shown = sorted({round(i * last / (_TICKS - 1)) for i in range(_TICKS)})
    axes.set_xticks(shown, [day_text(nights[place].night) for place in shown])
    axes.set_xlim(-0.7, last + 0.7)
    axes.grid(visible=False, axis="x")


def day_text(day: date) -> str:
    """Return a day as an axis has it, such as `6 Jan`."""
    return f"{day.day} {day:%b}"
