"""A report on some days, or on all, as a page."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.gates import GateResult
from ..queries.days import Days
from ..wording import counted
from .page import Page, Section, Table, gate_section
from .run_data import RunData
from .sections import drift_table, footer, measured, sentiment_section, strongest_section


def days_page(
    data: RunData, days: Days, drift: Mapping[str, Any], gates: Sequence[GateResult]
) -> Page:
    """Return the report on what was published of these days."""
    failed = [gate.reason for gate in gates if gate.holds is False]
    read = data.rows.get("read", 0)
    state, verdict = ("bad", f"Gate failed: {'; '.join(failed)}.") if failed else ("", "")
    if not read:
        verdict = verdict or "Nothing that is published is of these days."
    sections = [gate_section(gates)] if gates else []
    if read:
        sections += [_before(drift), sentiment_section(data, drift), strongest_section(data)]
    return Page(
        title=f"Report: {days.named}",
        subtitle=f"{counted(len(data.outputs), 'output')}, by the time of the news (UTC)",
        state=state,
        verdict=verdict,
        figures=_figures(data, drift),
        notes=data.notes,
        sections=sections,
        footer=footer(data.store),
    )


def _figures(data: RunData, drift: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = [("rows", f"{data.rows.get('read', 0):,}"), ("labelled", f"{data.labelled:,}")]
    return figures + measured(data, drift)


def _before(drift: Mapping[str, Any]) -> Section:
    title = "Beside the days before"
    if drift["psi"] is None:
        text = "There is nothing to compare: no row is published of a day before these."
        return Section(id="drift", title=title, text=text)
    text = f"Compared with {counted(drift['baseline_rows'], 'row')} of all days before these. "
    tables: list[Table] = [drift_table(drift)]
    return Section(id="drift", title=title, text=text, tables=tables)
