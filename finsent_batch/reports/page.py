"""A report as plain data, and its two written forms: one HTML file, or Markdown.

Whatever comes from users or their data is text here and escaped when written.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..metrics.gates import GateResult
from ..visible import visible
from .charts import Chart


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a heading.

    `numeric` columns stand to the right; `wide` ones may break within a word.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    numeric: frozenset[int] = frozenset()
    wide: frozenset[int] = frozenset()
    folded: bool = False
    """Whether the browser shows it only on request."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, a sentence on how to read it, charts and tables."""

    id: str
    title: str
    text: str = ""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Table] = ()
    """What the charts show, for forms that have none."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str = ""
    state: str = ""
    """`good`, `bad` or nothing: the color of `verdict`."""
    verdict: str = ""
    figures: Sequence[tuple[str, str]] = ()
    """What is measured and how much, the few figures that matter most."""
    notes: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: str = ""


def gate_section(gates: Sequence[GateResult]) -> Section:
    """Return which gates hold."""
    words = {True: "holds", False: "FAILED", None: "not checked"}
    rows = [(gate.gate, words[gate.holds], gate.reason) for gate in gates]
    table = Table(head=["gate", "result", "found"], rows=rows, wide=frozenset({2}))
    return Section(id="gates", title="Gates", tables=[table])


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def to_html(page: Page) -> str:
    """Return the report as one HTML document that needs nothing else."""
    style = (Path(__file__).parent / "page.css").read_text("utf-8")
    rendered: str = _environment().get_template("page.html.j2").render(page=page, style=style)
    return rendered


def to_markdown(page: Page) -> str:
    """Return the report as Markdown: everything, the charts in figures."""
    parts = [f"# {_escaped(page.title)}", _escaped(page.subtitle), _escaped(page.verdict)]
    parts.append(
        "\n".join(f"- {_escaped(name)}: **{_escaped(value)}**" for name, value in page.figures)
    )
    parts += [f"> {_escaped(note)}" for note in page.notes]
    for section in page.sections:
        parts += [f"## {_escaped(section.title)}", _escaped(section.text)]
        for table in (*section.figures, *section.tables):
            parts += [f"### {_escaped(table.title)}" if table.title else "", _table(table)]
    parts.append(_escaped(page.footer))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> str:
    rule = ["---:" if i in table.numeric else "---" for i in range(len(table.head))]
    lines = [[*map(_escaped, table.head)], rule, *([*map(_escaped, row)] for row in table.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, one line."""
    one_line = visible(" ".join(text.split()))
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", html.escape(one_line, quote=False))
