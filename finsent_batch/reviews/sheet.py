"""The file that reviewers fill: CSV that a spreadsheet opens and saves without changing the text.

A headline that a spreadsheet would take for a formula, a number or a date has an apostrophe in
front of it. Some spreadsheets show it, some keep it to themselves; `spellings` reads both.
"""

import csv
import io
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import BadDataError
from ..io.atomic import replace_file
from ..io.columns import named_column
from ..io.csv_reader import stage_csv
from ..io.paths import suffix_of

COLUMNS: Final = ("key", "headline", "label", "reviewer")
_NOT_PLAIN: Final = re.compile(r"[=+\-@'].*|.{0,30}\d.{0,30}|true|false", re.IGNORECASE)
"""What a spreadsheet may take for something else than text."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the file."""

    number: int
    """As spreadsheets count, the heading being row 1."""
    key: str
    headline: str
    label: str
    reviewer: str


def write_sheet(file: Path, rows: Sequence[dict[str, Any]], *, show_labels: bool) -> None:
    """Write headlines with empty columns for labels, in UTF-8 with the mark that Excel needs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    shown = ["model_label"] if show_labels else []
    writer.writerow([*COLUMNS, *shown])
    for row in rows:
        said = [row["sentiment"]] if show_labels else []
        writer.writerow([row["headline_key"], protected_text(row["headline"]), "", "", *said])
    replace_file(file, text.getvalue().encode("utf-8-sig"))


def protected_text(headline: str) -> str:
    """Return a headline as a spreadsheet leaves it alone."""
    return f"'{headline}" if _NOT_PLAIN.fullmatch(headline) else headline


def spellings(headline: str) -> tuple[str, str]:
    """Return what a headline in the file may stand for: without its apostrophe, and as it is."""
    return headline.removeprefix("'"), headline


def read_sheet(file: Path, encoding: str) -> list[Line]:
    """Return the rows of a file that was filled; commas, semicolons or tabs between its fields.

    Raises:
        MissingInputError: no such file.
        BadDataError: no CSV, not in this encoding, or a column of `COLUMNS` but the last is gone.
    """
    import polars as pl

    delimiter = "\t" if suffix_of(file) == ".tsv" else None
    with tempfile.TemporaryDirectory(prefix="finsent-review-") as folder:
        staged = stage_csv(
            file, Path(folder), encoding=encoding, max_bad_rows=None, delimiter=delimiter
        )
        frame = pl.read_parquet(staged.file, hive_partitioning=False, memory_map=False)
    found = {name: named_column(frame.columns, name) for name in COLUMNS}
    lacking = [name for name in COLUMNS[:3] if found[name] is None]
    if lacking:
        raise BadDataError(
            f"{file} has no column {lacking[0]}: give the file that review export wrote, with its "
            f"columns; it has: {', '.join(frame.columns)}"
        )
    columns = {
        name: frame[column].fill_null("").to_list() if column else [""] * frame.height
        for name, column in found.items()
    }
    rows = zip(*columns.values(), strict=True)
    return [
        Line(
            number=number, key=key.strip(), headline=text, label=label.strip(), reviewer=who.strip()
        )
        for number, (key, text, label, who) in enumerate(rows, 2)
    ]
