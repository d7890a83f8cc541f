"""Labelled headlines: the formats they come in, and when two are the same.

Known layouts: FinancialPhraseBank text (`sentence@label`, latin-1), its Kaggle
CSV (no header, `label,sentence`), SEntFiN 1.0 (a dict of decisions for each
headline), and any CSV or Parquet with a text and a label column.
"""

import csv
import io
import re
from pathlib import Path

import polars as pl

from ..config import LABEL_COLUMNS, TEXT_COLUMNS, LabelledFormat
from ..errors import BadDataError, MissingInputError, UsageError
from ..io.columns import check_column_names
from ..io.paths import suffix_of
from ..labels import LABELS, label_index

SPLITS = ("train", "valid", "test")
AGREEMENT = {
    "Sentences_50Agree.txt": 0.50,
    "Sentences_66Agree.txt": 0.66,
    "Sentences_75Agree.txt": 0.75,
    "Sentences_AllAgree.txt": 1.0,
}
"""PhraseBank's files by the least share of annotators who agree; each contains the next."""


def read_labelled(file: Path, how: LabelledFormat | None = None) -> pl.DataFrame:
    """Return a labelled file as a frame: `headline` (str), `label` (str), in file order.

    Without `label` where none is required and there is none.

    Raises:
        MissingInputError: no such file.
        BadDataError: unreadable, without the columns, or with labels outside the three.
    """
    how = how or LabelledFormat()
    if not file.is_file():
        raise MissingInputError(f"{file} does not exist: check the path")
    kind = suffix_of(file)
    if kind == ".parquet":
        frame = _choose_columns(_read_parquet(file), file, how)
    elif kind == ".txt":
        frame = _read_phrasebank(file, how.encoding or "latin-1")
    elif kind == ".csv":
        frame = _read_csv(file, how)
    else:
        raise UsageError(f"{file}: unknown suffix; labelled data is .txt, .csv or .parquet")
    if "label" not in frame.columns:
        return frame.fill_null("")
    return _map_labels(frame, file, how)


def _read_parquet(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file, glob=False)
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


def _read_csv(file: Path, how: LabelledFormat) -> pl.DataFrame:
    # Kaggle's all-data.csv holds bytes that are no UTF-8; the tutorial reads them as U+FFFD.
    text = _decode(file, how.encoding or "utf-8", "replace")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise BadDataError(f"{file} cannot be parsed as CSV ({error}): check its quotes") from None
    if not rows:
        raise BadDataError(f"{file} is empty")
    kaggle = len(rows[0]) == 2 and label_index(rows[0][0]) is not None  # no header
    header, body = (["label", "headline"], rows) if kaggle else (rows[0], rows[1:])
    check_column_names(header, file)
    for number, row in enumerate(body, 1 if kaggle else 2):
        if len(row) != len(header):
            raise BadDataError(f"{file} row {number}: {len(row)} fields, expected {len(header)}")
    if {"Title", "Decisions"} <= set(header):
        return _read_sentfin(header, body)
    frame = pl.DataFrame(body, schema=dict.fromkeys(header, pl.String), orient="row")
    return frame.select("headline", "label") if kaggle else _choose_columns(frame, file, how)


def _read_sentfin(header: list[str], body: list[list[str]]) -> pl.DataFrame:
    """Keep the headlines that have one sentiment for all their entities.

    The dicts are not parsed as Python: apostrophes in names break some.
    """
    title, decisions = header.index("Title"), header.index("Decisions")
    rows: list[tuple[str, str]] = []
    for row in body:
        found = set(re.findall(r"""['"]\s*:\s*['"](\w+)['"]""", row[decisions]))
        if len(found) == 1:
            rows.append((row[title], found.pop()))
    return pl.DataFrame(rows, schema=["headline", "label"], orient="row")


def _choose_columns(frame: pl.DataFrame, file: Path, how: LabelledFormat) -> pl.DataFrame:
    # The column `sentiment` of rows that a model labelled is no truth to go by.
    usual_labels = LABEL_COLUMNS if how.label_required else LABEL_COLUMNS[:1]
    chosen: dict[str, str] = {}
    for role, wanted, usual, option in (
        ("headline", how.text_column, TEXT_COLUMNS, "--text-column"),
        ("label", how.label_column, usual_labels, "--label-column"),
    ):
        name = wanted or next((c for c in usual if c in frame.columns), None)
        if name is None and role == "label" and not how.label_required:
            continue
        if name is None or name not in frame.columns:
            raise BadDataError(
                f"{file} has no column {name or ' or '.join(usual)}: name one with "
                f"{how.owner}{option}; "
                f"it has: {', '.join(frame.columns)}"
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
    meaning = {value: label_index(label) for value, label in how.label_map}
    unmeant = [label for _, label in how.label_map if label_index(label) is None]
    if unmeant:
        raise UsageError(f"--label-map: {unmeant[0]!r} is none of {', '.join(LABELS)}")
    found = frame["label"].fill_null("(null)").to_list()
    indices = [meaning.get(v, label_index(v)) for v in found]
    unknown: dict[str, int] = {}
    for value, index in zip(found, indices, strict=True):
        if index is None:
            unknown[value] = unknown.get(value, 0) + 1
    if unknown:
        listed = ", ".join(f"{v!r} ({n} rows)" for v, n in sorted(unknown.items())[:8])
        if len(unknown) > 8:
            rest = sum(n for _, n in sorted(unknown.items())[8:])
            listed += f" and {len(unknown) - 8} others ({rest} rows)"
        raise BadDataError(
            f"{file} has labels other than {', '.join(LABELS)}: {listed}; "
            f"say what they mean with {how.owner}--label-map VALUE=LABEL"
        )
    labels = [LABELS[i] for i in indices if i is not None]
    text = frame["headline"].fill_null("")
    return pl.DataFrame({"headline": text, "label": pl.Series(labels, dtype=pl.String)})
