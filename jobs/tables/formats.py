"""`--format`: rows as a table, or as CSV, JSON, JSON lines or Markdown for programs and pages.

Every command declares the option, so what only printing needs is imported there.
"""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import click

from finsent_batch.visible import visible_line

F = TypeVar("F", bound=Callable[..., Any])

FORMATS: Final = ("table", "csv", "json", "jsonl", "markdown")
_WIDTH_OF_A_PIPE: Final = 140
_MARKDOWN: Final = str.maketrans({"|": "\\|", "\n": "<br>", "\\": "\\\\"})


def format_option(function: F) -> F:
    """Add `--format` for rows that are printed."""
    option = click.option(
        "--format",
        "format_",
        type=click.Choice(FORMATS),
        help="[default: table on a terminal, else csv]",
    )
    return option(function)


def chosen_format(format_: str | None) -> str:
    """Return the format that was named, else a table on a terminal and CSV elsewhere."""
    return format_ or ("table" if sys.stdout.isatty() else "csv")


def print_rows(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    format_: str,
    *,
    dispensable: Sequence[str] = (),
    wraps: bool = False,
) -> None:
    """Print rows in one of `FORMATS`; see `print_table` for how a table is made to fit."""
    if format_ == "table":
        advice = "; --format csv or json has all"
        print_table(columns, rows, dispensable=dispensable, wraps=wraps, advice=advice)
    elif format_ == "markdown":
        click.echo("\n".join(markdown_lines(columns, rows)))
    elif format_ == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_csv_value(value) for value in row] for row in rows)
    else:
        objects = [_json_object(columns, row) for row in rows]
        lines = "\n".join(objects) if format_ == "jsonl" else _json_array(objects)
        click.echo(lines, nl=bool(lines))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str | None = None,
    note: str = "",
    dispensable: Sequence[str] = (),
    wraps: bool = False,
    advice: str = "",
) -> None:
    """Print rows as a table as wide as the terminal; numbers to the right, NULL as a dash.

    `dispensable` names columns that may be left out if there is no room, the first of them
    first. With `wraps` text goes on in the next line instead of being cut.
    `advice` says where columns are that were left out. What is longer than an interactive
    terminal goes through the pager.
    """
    from .cells import column_of
    from .layout import lay_out

    rows = list(rows)
    found = [column_of(name, [row[i] for row in rows]) for i, name in enumerate(columns)]
    layout = lay_out(found, _width(), dispensable=dispensable, wraps=wraps)
    lines = [] if title is None else ["", click.style(visible_line(title), italic=True)]
    lines += [click.style(line, bold=True) if head else line for head, line in layout.lines()]
    notes = [note] if note else [] if rows else ["no rows"]
    if layout.left_out:
        notes.append(_left_out(layout.left_out, len(columns)) + advice)
    lines += [click.style(line, dim=True) for line in notes]
    _show(lines)


def markdown_lines(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, with every digit of its numbers."""
    from .cells import is_a_number

    numeric = [any(is_a_number(row[i]) for row in rows) for i in range(len(columns))]
    yield f"| {' | '.join(map(_markdown_cell, columns))} |"
    yield f"| {' | '.join('---:' if number else '---' for number in numeric)} |"
    for row in rows:
        yield f"| {' | '.join(map(_markdown_cell, row))} |"


def _markdown_cell(value: object) -> str:
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return visible_line(text.translate(_MARKDOWN))


def _csv_value(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _json_object(columns: Sequence[str], row: Sequence[object]) -> str:
    values = (None if isinstance(v, float) and not math.isfinite(v) else v for v in row)
    named = dict(zip(columns, values, strict=True))
    return json.dumps(named, ensure_ascii=False, default=str)


def _json_array(objects: Sequence[str]) -> str:
    return "[\n  " + ",\n  ".join(objects) + "\n]" if objects else "[]"


def _left_out(names: Sequence[str], total: int) -> str:
    named = f"no room for {', '.join(names)}"
    return named if len(named) < _width() // 2 else f"{total - len(names)} of {total} columns fit"


def _width() -> int:
    """Return how wide a table may be: the terminal, or what COLUMNS says."""
    return shutil.get_terminal_size((_WIDTH_OF_A_PIPE, 24)).columns


def _show(lines: Sequence[str]) -> None:
    """Print lines; on an interactive terminal by its pager, where they are more than fit."""
    text = "\n".join(lines)
    if not (sys.stdout.encoding or "").lower().startswith("utf"):
        text = text.replace("─", "-").replace("–", "-").replace("…", "~")
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and len(lines) >= shutil.get_terminal_size().lines:
        os.environ.setdefault("LESS", "-FRX")
        click.echo_via_pager(text + "\n")
    else:
        # click.echo would write UTF-8 to a stream that is said to be ASCII.
        sys.stdout.write(f"{text if sys.stdout.isatty() else click.unstyle(text)}\n")
