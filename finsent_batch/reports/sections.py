"""What reports on runs and on days have in common: sections, tables and figures."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..labels import LABELS
from ..version import __version__
from . import run_charts, run_figures
from .page import Section, Table
from .run_data import RunData

_TIMES_SHOWN = 31


def footer(store: str) -> str:
    """Return what made the page, and of which store."""
    return f"finsent-batch {__version__} · store {store}"


def measured(data: RunData, drift: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the mean score and the drift, those that there are."""
    figures = []
    if data.mean_score is not None:
        figures.append(("mean score", f"{data.mean_score:+.3f}"))
    if drift["psi"] is not None:
        figures.append(("drift (PSI)", f"{drift['psi']:.3f}"))
    return figures


def sentiment_section(data: RunData, drift: Mapping[str, Any]) -> Section:
    """Return labels, scores and confidence, and how they went by hour or day."""
    title = "Sentiment and confidence"
    if not data.labelled:
        return Section(id="sentiment", title=title, text="No row of this run has a label.")
    before = drift["baseline"]
    baseline = dict(zip(LABELS, before.get("labels", [0, 0, 0]), strict=True))
    charts = [run_charts.label_mix(data.labels, baseline)]
    text = "Labelled rows only: their labels, their scores, and the confidence of the model."
    if data.histograms:
        score, confidence = (data.histograms[n] for n in ("sentiment_score", "confidence"))
        charts.append(run_charts.score_distribution(score, before.get("sentiment_score")))
        charts.append(run_charts.confidence(confidence, before.get("confidence")))
    else:
        text += " This run was made by an earlier version, which kept no histograms."
    tables = []
    if data.by_time:
        charts.append(run_charts.by_time(data.by_time, data.time_unit))
        tables.append(_times(data))
    figures = run_figures.sentiment(data, before)
    return Section(
        id="sentiment", title=title, text=text, charts=charts, tables=tables, figures=figures
    )


def _times(data: RunData) -> Table:
    form = "%Y-%m-%d" if data.time_unit == "day" else "%Y-%m-%d %H:00"
    rows = [
        (
            f"{row['time']:{form}}",
            f"{row['headlines']:,}",
            f"{row['mean_score']:+.3f}",
            *(f"{row[f'{label}_share']:.0%}" for label in LABELS),
        )
        for row in data.by_time[-_TIMES_SHOWN:]
    ]
    which = "" if len(rows) == len(data.by_time) else f", the last {len(rows)}"
    return Table(
        title=f"Sentiment by {data.time_unit} in figures{which}",
        head=[data.time_unit, "headlines", "mean score", *LABELS],
        rows=rows,
        numeric=frozenset(range(1, 6)),
        folded=True,
    )


def drift_table(drift: Mapping[str, Any]) -> Table:
    """Return the stability indices, and what chance alone stays below."""
    rows = [
        (name, _index(drift[f"psi_{key}"]), _index(drift[f"chance_{key}"]))
        for key, name in (("labels", "label mix"), ("confidence", "confidence"))
    ]
    return Table(head=["compared", "PSI", "by chance"], rows=rows, numeric=frozenset({1, 2}))


def strongest_section(data: RunData) -> Section:
    """Return the most negative and the most positive headlines."""
    tables = [
        Table(
            title=title,
            head=["score", "headline", "time"],
            rows=[
                (f"{r['sentiment_score']:+.3f}", r["headline"] or "–", time_text(r["time"]))
                for r in rows
            ],
            numeric=frozenset({0}),
            wide=frozenset({1}),
        )
        for title, rows in (
            ("Most negative", data.most_negative),
            ("Most positive", data.most_positive),
        )
        if rows
    ]
    text = "" if tables else "There are no positive or negative rows to show."
    return Section(id="strongest", title="Strongest headlines", text=text, tables=tables)


def time_text(time: datetime | None) -> str:
    """Return a time to the minute, a dash for none."""
    return "–" if time is None else f"{time:%Y-%m-%d %H:%M}"


def _index(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
