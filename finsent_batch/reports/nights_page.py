"""A report on the last nights of a feed, as a page: the verdict, what moved, then the charts."""

from collections.abc import Sequence

from ..labels import LABELS
from ..metrics.gates import GateResult
from ..wording import counted
from . import nights_charts
from .night_section import column_changes, estimate, figure_tables, reviewed, source_table
from .night_section import unusual_figures as unusual
from .nights_data import NightRow, NightsData
from .page import Page, Section, Table, gate_section
from .sections import footer


def nights_page(data: NightsData, gates: Sequence[GateResult]) -> Page:
    """Return the report on nights; of a store without any, a page that says so."""
    if not data.nights:
        return Page(
            title="Nights",
            verdict="No night has been judged yet: score a feed first.",
            sections=[gate_section(gates)] if gates else [],
            footer=footer(data.store),
        )
    state, words = _verdict(data.nights, gates)
    sections = [_moved(data.nights), _charts(data), _strip(data.nights), _last(data.nights[-1])]
    if gates:
        sections.insert(0, gate_section(gates))
    notes = []
    if data.other_feeds:
        named = ", ".join(data.other_feeds[:3])
        notes = [f"Other feeds have pages of their own, by --feed: {named}"]
    first, last = data.nights[0].night, data.nights[-1].night
    return Page(
        title=f"Nights: {first} to {last}" if first != last else f"Night: {first}",
        subtitle=f"feed {data.feed}",
        state=state,
        verdict=words,
        figures=_figures(data),
        notes=notes,
        sections=sections,
        footer=footer(data.store),
    )


def _verdict(nights: Sequence[NightRow], gates: Sequence[GateResult]) -> tuple[str, str]:
    """Return the state, and what became of the last night and of all."""
    last, failed = nights[-1], [gate.reason for gate in gates if gate.holds is False]
    held = sum(night.held for night in nights)
    of_all = (
        f" Of {counted(len(nights), 'night')}, {len(nights) - held} "
        f"{'was' if len(nights) - held == 1 else 'were'} published and {held} held back."
    )
    if last.held:
        return "bad", f"{last.night}: held back, not published: {last.reason}.{of_all}"
    if failed:
        return "bad", f"{last.night}: published, but a gate failed: {'; '.join(failed)}.{of_all}"
    if last.unusual:
        return "bad", f"{last.night}: published, but unusual: {_why(last)}.{of_all}"
    return "good", f"{last.night}: published, and nothing about it is unusual.{of_all}"


def _figures(data: NightsData) -> list[tuple[str, str]]:
    last, nights = data.nights[-1], data.nights
    figures = [
        ("nights", f"{len(nights):,}"),
        ("held back", f"{sum(night.held for night in nights):,}"),
        ("published, unusual", f"{sum(bool(n.unusual) and not n.held for n in nights):,}"),
        ("rows last night", f"{last.figures['rows'] or 0:,.0f}"),
    ]
    if (accuracy := estimate(last.figures)) is not None:
        figures.append(("estimated accuracy", accuracy))
    if data.reviewed and (by_review := reviewed(data.reviewed[-1])) is not None:
        figures.append((f"reviewed accuracy, {data.reviewed[-1]['month']}", by_review))
    return figures


def _moved(nights: Sequence[NightRow]) -> Section:
    """Return the nights that were held back or unlike others, and what changed in the last one."""
    told = [night for night in reversed(nights) if night.held or night.unusual]
    text, tables = "No night was held back, and no figure left the band usual for it.", []
    if told:
        text = "Nights that were held back, and nights with figures outside of their band."
        rows = [(_day(night), _became(night), night.reason or _why(night)) for night in told]
        tables = [Table(head=["night", "", "why"], rows=rows, wide=frozenset({2}))]
    last = nights[-1].compared
    if last["sources"]:
        tables.append(source_table(last))
    if changes := column_changes(last):
        tables.append(Table(title="Columns", head=["changed since"], rows=[(c,) for c in changes]))
    return Section(id="moved", title="What moved", text=text, tables=tables)


def _last(night: NightRow) -> Section:
    """Return the figures of the last night beside comparable ones."""
    return Section(
        id="last-night",
        title=f"The night of {_day(night)}",
        text=f"Its own page: finsent-batch report --run {night.run_id}",
        tables=figure_tables(night.figures, night.compared),
    )


def _charts(data: NightsData) -> Section:
    nights = data.nights
    charts = [
        nights_charts.volume(nights),
        nights_charts.accuracy(nights, data.reviewed),
        nights_charts.labels(nights),
        nights_charts.drift(nights),
    ]
    shown = [chart for chart in charts if chart is not None]
    return Section(id="charts", title="Night by night", charts=shown)


def _strip(nights: Sequence[NightRow]) -> Section:
    """Return a row a night, the last first."""
    rows = [
        (
            _day(night),
            _became(night),
            f"{night.figures['rows'] or 0:,.0f}",
            _number(night, "estimated_accuracy", ".3f"),
            _number(night, "mean_score", "+.3f"),
            *(_number(night, f"{label}_share", ".0%") for label in LABELS),
            _number(night, "unseen_share", ".0%"),
            _number(night, "alarms", ".0f"),
        )
        for night in reversed(nights)
    ]
    head = ["night", "", "rows", "est. accuracy", "mean score", *LABELS, "unseen", "alarms"]
    table = Table(head=head, rows=rows, numeric=frozenset(range(2, len(head))))
    return Section(id="strip", title="In figures", tables=[table])


def _day(night: NightRow) -> str:
    return f"{night.night:%a %Y-%m-%d}"


def _became(night: NightRow) -> str:
    """Return what became of a night, with a sign that needs no color."""
    if night.held:
        return "✗ held back"
    return "△ published, unusual" if night.unusual else "✓ published"


def _why(night: NightRow) -> str:
    bands = night.compared["bands"]
    known = {**night.compared, "unusual": [name for name in night.unusual if name in bands]}
    return "; ".join(unusual(night.figures, known)) or ", ".join(night.unusual)


def _number(night: NightRow, name: str, form: str) -> str:
    value = night.figures.get(name)
    return "–" if value is None else f"{value:{form}}"
