"""Labelled headlines: the formats they come in, and when two are the same.

Known layouts: FinancialPhraseBank text (`sentence@label`, latin-1), its Kaggle
CSV (no header, `label,sentence`), SEntFiN 1.0 (a dict of decisions for each
headline), and any CSV or Parquet with a text and a label column.
"""

import csv
import io
import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..config import LabelledFormat
from ..errors import BadDataError, MissingInputError, UsageError
from ..io.columns import LABEL_COLUMNS, TEXT_COLUMNS, named_column, usual_columns
from ..io.csv_reader import stage_csv
from ..io.paths import FILE_SUFFIXES, format_of, suffix_of
from ..io.text.compression import open_unpacked
from ..io.text.jsonl import stage_jsonl
from ..labels import LABELS, label_index
from .label_map import label_indices

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
AGREEMENT = {
    "Sentences_50Agree.txt": 0.50,
    "Sentences_66Agree.txt": 0.66,
    "Sentences_75Agree.txt": 0.75,
    "Sentences_AllAgree.txt": 1.0,
}
"""PhraseBank's files by the least share of annotators who agree; each contains the next."""


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """What a labelled file holds."""

    frame: pl.DataFrame
    """`headline` (str), `label` (str), in file order."""
    read: int
    """Rows of the file."""
    left_out: dict[str, int]
    """Rows that are not in the frame, by reason."""


def read_labelled(file: Path, how: LabelledFormat | None = None) -> pl.DataFrame:
    """Return a labelled file as a frame: `headline` (str), `label` (str), in file order.

    Without `label` where none is required and there is none.

    Raises:
        MissingInputError: no such file.
        BadDataError: unreadable, without the columns, or with labels outside the three.
    """
    return read_labelled_rows(file, how).frame


def read_labelled_rows(file: Path, how: LabelledFormat | None = None) -> LabelledRows:
    """Return a labelled file with the rows that it left out; see `read_labelled`."""
    how = how or LabelledFormat()
    if not file.is_file():
        raise MissingInputError(f"{file} does not exist: check the path")
    kind = format_of(file)
    left_out: dict[str, int] = {}
    if suffix_of(file) == ".txt":
        frame = _read_phrasebank(file, how.encoding or "latin-1")
    elif kind is None:
        raise UsageError(
            f"{file}: unknown suffix; labelled data is .txt, {', '.join(FILE_SUFFIXES)}"
        )
    elif kind == "csv" and _is_kaggle(file, how):
        frame = _read_kaggle(file, how)
    else:
        frame = _read_table(file, kind, how)
        if {"Title", "Decisions"} <= set(frame.columns):
            frame, left_out = _take_sentfin(frame)
        else:
            frame = _choose_columns(frame, file, how)
    read = frame.height + sum(left_out.values())
    frame = frame.fill_null("") if "label" not in frame.columns else _map_labels(frame, file, how)
    return LabelledRows(frame=frame, read=read, left_out=left_out)


def _read_table(file: Path, kind: str, how: LabelledFormat) -> pl.DataFrame:
    """Read a table as `score` does, and refuse what it refuses."""
    try:
        if kind == "parquet":
            return pl.read_parquet(file, glob=False, hive_partitioning=False)
        encoding = how.encoding or "utf-8"
        with tempfile.TemporaryDirectory(prefix="finsent-labelled-") as folder:
            if kind == "jsonl":
                staged = stage_jsonl(file, Path(folder), encoding=encoding, max_bad_rows=None)
            else:
                staged = stage_csv(
                    file,
                    Path(folder),
                    encoding=encoding,
                    max_bad_rows=None,
                    delimiter="\t" if kind == "tsv" else None,
                    escape=how.escape,
                    quote=how.quote,
                )
            for note in staged.notes:
                logger.warning("%s", note)
            frame = pl.read_parquet(staged.file, hive_partitioning=False, memory_map=False)
            frame = frame.with_columns(pl.concat_list(name) for name in staged.nested)
            return frame.with_columns(pl.col(pl.String).fill_null(""))
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadDataError(f"{file} is not a readable Parquet file ({reason})") from None


def _read_phrasebank(file: Path, encoding: str) -> pl.DataFrame:
    rows = []
    text = io.StringIO(_decode(file, encoding, "strict"), newline=None)
    for number, line in enumerate(text, 1):
        sentence, separator, label = line.rstrip("\n").rpartition("@")
        if not separator:
            if line.strip():
                raise BadDataError(f"{file} line {number}: no @label at its end")
            continue
        rows.append((sentence, label))
    return pl.DataFrame(rows, schema=["headline", "label"], orient="row")


def _decode(file: Path, encoding: str, errors: str) -> str:
    try:
        return file.read_bytes().decode(encoding, errors).removeprefix("\ufeff")
    except LookupError:
        raise UsageError(f"unknown encoding {encoding!r}: try utf-8, latin-1, cp1252") from None
    except UnicodeDecodeError as error:
        line = bytes(error.object)[: error.start].count(b"\n") + 1
        raise BadDataError(
            f"{file} is not {encoding} (line {line}): name its encoding with --encoding"
        ) from None


def _is_kaggle(file: Path, how: LabelledFormat) -> bool:
    """Whether a file has the layout of Kaggle's all-data.csv: `label,sentence`, no header."""
    try:
        with open_unpacked(file) as stream:
            start = stream.read(1 << 16).decode(how.encoding or "utf-8", "replace")
    except (LookupError, OSError, EOFError):
        return False  # told by the reader of tables
    try:
        first = next(csv.reader(io.StringIO(start, newline="")), [])
    except csv.Error:
        return False
    return len(first) == 2 and label_index(first[0].removeprefix("\ufeff")) is not None


def _read_kaggle(file: Path, how: LabelledFormat) -> pl.DataFrame:
    # Kaggle's all-data.csv holds bytes that are no UTF-8; the tutorial reads them as U+FFFD.
    text = _decode(file, how.encoding or "utf-8", "replace")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise BadDataError(f"{file} cannot be parsed as CSV ({error}): check its quotes") from None
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise BadDataError(f"{file} row {number}: {len(row)} fields, expected 2")
    frame = pl.DataFrame(rows, schema=["label", "headline"], orient="row")
    return frame.select("headline", "label")


def _take_sentfin(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Keep the headlines that have one sentiment for all their entities.

    The dicts are not parsed as Python: apostrophes in names break some.
    """
    rows: list[tuple[str, str]] = []
    left_out = {"several_sentiments": 0, "no_sentiment": 0}
    for title, decisions in frame.select("Title", "Decisions").fill_null("").iter_rows():
        found = set(re.findall(r"""['"]\s*:\s*['"](\w+)['"]""", decisions))
        if len(found) == 1:
            rows.append((title, found.pop()))
        else:
            left_out["several_sentiments" if found else "no_sentiment"] += 1
    kept = pl.DataFrame(rows, schema=["headline", "label"], orient="row")
    return kept, left_out


def _choose_columns(frame: pl.DataFrame, file: Path, how: LabelledFormat) -> pl.DataFrame:
    # The column `sentiment` of rows that a model labelled is no truth to go by.
    usual_labels = LABEL_COLUMNS if how.label_required else LABEL_COLUMNS[:1]
    chosen: dict[str, str] = {}
    for role, wanted, usual, option in (
        ("headline", how.text_column, TEXT_COLUMNS, "--text-column"),
        ("label", how.label_column, usual_labels, "--label-column"),
    ):
        name = next(iter(usual_columns(frame.columns, usual)), None)
        if wanted is not None:
            name = named_column(frame.columns, wanted) or wanted
        if name is None and role == "label" and not how.label_required:
            continue
        if name is None or name not in frame.columns:
            raise BadDataError(
                f"{file} has no column {name or ' or '.join(usual)}: name one with "
                f"{how.owner}{option}; it has: {', '.join(frame.columns)}"
            )
        chosen[role] = name
    frame = frame.select(pl.col(name).alias(role) for role, name in chosen.items())
    try:
        return frame.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise BadDataError(
            f"{file}: {' and '.join(chosen.values())} do not both hold plain values: "
            "name others with --text-column and --label-column"
        ) from None


def _map_labels(frame: pl.DataFrame, file: Path, how: LabelledFormat) -> pl.DataFrame:
    indices = label_indices(frame["label"].fill_null("(null)").to_list(), file, how)
    text = frame["headline"].fill_null("")
    labels = pl.Series([LABELS[i] for i in indices], dtype=pl.String)
    return pl.DataFrame({"headline": text, "label": labels})
