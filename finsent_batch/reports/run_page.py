"""A run report as a page: its figures, sections, charts and tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..metrics.gates import GateResult
from ..wording import counted
from . import run_charts, run_figures
from .night_section import estimate, night_section, reviewed
from .page import Page, Section, Table, gate_section
from .run_data import RunData
from .sections import (
    drift_table,
    footer,
    measured,
    sentiment_section,
    strongest_section,
    time_text,
)
from .verdict import verdict

_PSI = (
    "The population stability index compares this run with the earlier runs of the same model: "
    "below 0.1 nothing has changed, above 0.2 something has shifted. Small runs differ by chance: "
    "if nothing had changed, the index would stay below the last column in 95 of 100 cases."
)


def run_page(data: RunData, drift: Mapping[str, Any], gates: Sequence[GateResult]) -> Page:
    """Return the report on a run; on an empty store, a page that says so."""
    if data.run is None:
        return Page(
            title="Run report",
            verdict="The store is empty: no run has been made yet.",
            sections=[gate_section(gates)] if gates else [],
            footer=footer(data.store),
        )
    state, words = verdict(data, drift, gates)
    sections = [_drift(data, drift), sentiment_section(data, drift), strongest_section(data)]
    sections += [_quarantine(data), _reuse(data), _what_ran(data)]
    if (night := night_section(data)) is not None:
        sections.insert(0, night)
    of_run = [GateResult(**gate) for gate in data.run_gates]
    if of_run or gates:
        sections.insert(0, gate_section([*of_run, *gates]))
    return Page(
        title=f"Run report: {Path(data.run['input']).name}",
        subtitle=f"run {data.run['run_id']}, started {time_text(data.run['started_at'])} UTC",
        state=state,
        verdict=words,
        figures=_figures(data, drift),
        notes=data.notes,
        sections=sections,
        footer=footer(data.store),
    )


def _figures(data: RunData, drift: Mapping[str, Any]) -> list[tuple[str, str]]:
    assert data.run is not None
    rows, rate = data.rows, data.run["headlines_per_second"]
    figures = [("rows", f"{rows.get('read', 0):,}"), ("labelled", f"{data.labelled:,}")]
    if rows.get("read"):
        figures.append(("reused", f"{rows['reused'] / rows['read']:.0%}"))
    sure = data.confidence or {}
    if sure.get("coverage") is not None:
        figures.append((f"at least {sure['min_confidence']:g} sure", f"{sure['coverage']:.0%}"))
    if (accuracy := estimate(data.figures)) is not None:
        figures.append(("estimated accuracy", accuracy))
    if (by_review := reviewed(data.reviewed)) is not None:
        figures.append(("reviewed accuracy", by_review))
    figures += measured(data, drift)
    figures.append(("headlines/s", "–" if rate is None else f"{rate:,.0f}"))
    figures.append(("seconds", f"{data.seconds.get('total', 0):,.1f}"))
    return figures


def _what_ran(data: RunData) -> Section:
    run = data.run or {}
    rows = [
        ("status", f"{run['status']}, exit code {_or_dash(run['exit_code'])}"),
        ("input", run["input"]),
        *[("output", output) for output in data.outputs or [run["output"]]],
        ("model", f"{run['model']}, fingerprint {run['model_fingerprint']}"),
        *_answered(run.get("cascade")),
        ("device", ", ".join(filter(None, (run["device"], run["weights"], run["path"])))),
        ("finished", f"{time_text(run['finished_at'])} UTC" if run["finished_at"] else "–"),
        ("tokens", f"{run['tokens'] or 0:,}"),
        ("peak memory", f"{run['peak_rss_mb'] or 0:,.0f} MB"),
        ("version", f"finsent-batch {run['version']}"),
    ]
    stages = [(n.replace("_", " "), f"{s:,.2f}") for n, s in data.seconds.items()]
    kinds = [(n.replace("_", " "), f"{c:,}") for n, c in data.rows.items()]
    number = frozenset({1})
    return Section(
        id="what-ran",
        title="What ran",
        tables=[
            Table(head=["what", ""], rows=[(n, str(v)) for n, v in rows], wide=number),
            Table(head=["stage", "seconds"], rows=stages, numeric=number),
            Table(head=["rows", "count"], rows=kinds, numeric=number),
        ],
    )


def _answered(cascade: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return how many rows each model of a cascade answered."""
    if cascade is None:
        return []
    return [
        (f"answered by {cascade[which]}", counted(cascade[f"{which}_rows"], "row"))
        for which in ("first", "second")
    ]


def _drift(data: RunData, drift: Mapping[str, Any]) -> Section:
    if drift["psi"] is None:
        text = "There is nothing to compare: this run and an earlier one of the same model must "
        text += "both have labels."
        return Section(id="drift", title="Drift", text=text)
    text = f"{_PSI} Compared with {counted(len(data.baseline), 'run')}, "
    text += f"{counted(drift['baseline_rows'], 'row')}."
    assert data.run is not None
    runs = [*data.baseline, {"started_at": data.run["started_at"], "labels": data.labels}]
    return Section(
        id="drift",
        title="Drift",
        text=text,
        charts=[run_charts.label_history(runs)],
        figures=[run_figures.label_history(runs)],
        tables=[drift_table(drift)],
    )


def _quarantine(data: RunData) -> Section:
    title = "Quarantine"
    if not data.quarantine:
        return Section(id="quarantine", title=title, text="No row was set aside in this run.")
    rows = [(q["reason"], f"{q['rows']:,}", _place(q)) for q in data.quarantine]
    head, wide = ["reason", "rows", "first"], frozenset({0, 2})
    return Section(
        id="quarantine",
        title=title,
        text="Rows that do not parse or cannot be scored; finsent-batch query quarantine "
        "lists them.",
        tables=[Table(head=head, rows=rows, numeric=frozenset({1}), wide=wide)],
    )


def _place(entry: Mapping[str, Any]) -> str:
    kind = "line" if entry["line"] else "row"
    return f"{entry['input']}, {kind} {entry[kind]}"


def _reuse(data: RunData) -> Section:
    if not data.rows.get("read"):
        return Section(id="reuse-section", title="Reuse", text="There were no rows.")
    rate = (data.run or {}).get("headlines_per_second")
    saved = f" At this run's rate that saved {data.rows['reused'] / rate:,.1f} s." if rate else ""
    text = f"A model scores a headline once. {counted(data.rows['reused'], 'row')} needed no "
    text += f"scoring, because the store or this run already had the headline.{saved}"
    charts = [run_charts.work(data.rows)]
    figures = [run_figures.work(data.rows)]
    return Section(id="reuse-section", title="Reuse", text=text, charts=charts, figures=figures)


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)
