"""Labelled headlines: the formats they come in, and honest splits of them.

Known layouts: FinancialPhraseBank text (`sentence@label`, latin-1), its Kaggle
CSV (no header, `label,sentence`), SEntFiN 1.0 (a dict of decisions for each
headline), and any CSV or Parquet with a text and a label column.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from .config import TEXT_COLUMNS, PrepareConfig
from .errors import BadDataError, CannotCreateError, MissingInputError, UsageError
from .headlines import normalise
from .labels import LABELS, label_index

SPLITS = ("train", "valid", "test")
LABEL_COLUMNS = ("label", "sentiment")


@dataclass(frozen=True, kw_only=True)
class LabelledFormat:
    """How to read a labelled file; None leaves it to the file's own layout."""

    text_column: str | None = None
    label_column: str | None = None
    label_map: tuple[tuple[str, str], ...] = ()
    encoding: str | None = None


def read_labelled(file: Path, how: LabelledFormat | None = None) -> pl.DataFrame:
    """Return a labelled file as a frame: `headline` (str), `label` (str), in file order.

    Raises:
        MissingInputError: no such file.
        BadDataError: unreadable, without the columns, or with labels outside the three.
    """
    how = how or LabelledFormat()
    if not file.is_file():
        raise MissingInputError(f"{file} does not exist: check the path")
    if file.suffix == ".parquet":
        frame = _read_parquet(file)
    elif file.suffix == ".txt":
        frame = _read_phrasebank(file, how.encoding or "latin-1")
    elif file.suffix == ".csv":
        frame = _read_csv(file, how.encoding or "utf-8")
    else:
        raise UsageError(f"{file}: unknown suffix; labelled data is .txt, .csv or .parquet")
    if set(frame.columns) != {"headline", "label"}:
        frame = _choose_columns(frame, file, how)
    return _map_labels(frame, file, how)


def _read_parquet(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadDataError(f"{file} is not a readable Parquet file ({reason})") from None


def _read_phrasebank(file: Path, encoding: str) -> pl.DataFrame:
    rows = []
    for number, line in enumerate(file.read_text(encoding).split("\n"), 1):
        sentence, separator, label = line.rstrip("\r").rpartition("@")
        if not separator:
            if line.strip():
                raise BadDataError(f"{file} line {number}: no @label at its end")
            continue
        rows.append((sentence, label))
    return pl.DataFrame(rows, schema=["headline", "label"], orient="row")


def _read_csv(file: Path, encoding: str) -> pl.DataFrame:
    # Kaggle's all-data.csv holds bytes that are no UTF-8; the tutorial reads them as U+FFFD.
    text = file.read_bytes().decode(encoding, "replace").removeprefix("\ufeff")
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    if not rows:
        raise BadDataError(f"{file} is empty")
    if len(rows[0]) == 2 and label_index(rows[0][0]) is not None:  # Kaggle: no header
        return pl.DataFrame([r[::-1] for r in rows], schema=["headline", "label"], orient="row")
    header, body = rows[0], rows[1:]
    bad = next((i for i, row in enumerate(body, 2) if len(row) != len(header)), None)
    if bad is not None:
        raise BadDataError(f"{file} row {bad}: {len(body[bad - 2])} fields, expected {len(header)}")
    if {"Title", "Decisions"} <= set(header):
        return _read_sentfin(header, body)
    return pl.DataFrame(body, schema=header, orient="row")


def _read_sentfin(header: list[str], body: list[list[str]]) -> pl.DataFrame:
    """Keep the headlines that have one sentiment for all their entities.

    The dicts are not parsed as Python: apostrophes in names break some.
    """
    title, decisions = header.index("Title"), header.index("Decisions")
    rows = []
    for row in body:
        found = set(re.findall(r"""['"]\s*:\s*['"](\w+)['"]""", row[decisions]))
        if len(found) == 1:
            rows.append((row[title], found.pop()))
    return pl.DataFrame(rows, schema=["headline", "label"], orient="row")


def _choose_columns(frame: pl.DataFrame, file: Path, how: LabelledFormat) -> pl.DataFrame:
    chosen = []
    for wanted, usual, option in (
        (how.text_column, TEXT_COLUMNS, "--text-column"),
        (how.label_column, LABEL_COLUMNS, "--label-column"),
    ):
        name = wanted or next((c for c in usual if c in frame.columns), None)
        if name is None or name not in frame.columns:
            raise BadDataError(
                f"{file} has no column {name or ' or '.join(usual)}: name one with {option}; "
                f"it has: {', '.join(frame.columns)}"
            )
        chosen.append(name)
    return frame.select(pl.col(chosen[0]).alias("headline"), pl.col(chosen[1]).alias("label"))


def _map_labels(frame: pl.DataFrame, file: Path, how: LabelledFormat) -> pl.DataFrame:
    meaning = {value: label_index(label) for value, label in how.label_map}
    unmeant = [label for _, label in how.label_map if label_index(label) is None]
    if unmeant:
        raise UsageError(f"--label-map: {unmeant[0]!r} is none of {', '.join(LABELS)}")
    found = frame["label"].cast(pl.String).fill_null("(null)").to_list()
    indices = [meaning.get(v, label_index(v)) for v in found]
    unknown: dict[str, int] = {}
    for value, index in zip(found, indices, strict=True):
        if index is None:
            unknown[value] = unknown.get(value, 0) + 1
    if unknown:
        listed = ", ".join(f"{v!r} ({n} rows)" for v, n in sorted(unknown.items())[:8])
        raise BadDataError(
            f"{file} has labels other than {', '.join(LABELS)}: {listed}; "
            "say what they mean with --label-map VALUE=LABEL"
        )
    labels = [LABELS[i] for i in indices if i is not None]
    text = frame["headline"].cast(pl.String).fill_null("")
    return pl.DataFrame({"headline": text, "label": pl.Series(labels, dtype=pl.String)})


def duplicate_key(headline: str) -> str:
    """Return what two headlines share when one is a copy of the other.

    ASCII letters and digits only, lower-cased: spacing, punctuation and the
    characters that a wrong encoding destroys do not make a new sentence.
    """
    return re.sub(r"[^a-z0-9]+", "", headline.lower())


def prepare(config: PrepareConfig) -> dict[str, object]:
    """Split labelled sources and write train/valid/test.parquet and split.json.

    Returns the contents of split.json.

    Raises:
        BadDataError: unusable data, or fewer rows than the recipe needs.
        CannotCreateError: the folder holds a split already, or cannot be made.
    """
    from .splits import clean_split, tutorial_split

    how = LabelledFormat(
        text_column=config.text_column,
        label_column=config.label_column,
        label_map=config.label_map,
        encoding=config.encoding,
    )
    folder = config.output
    if (folder / "split.json").exists() and not config.overwrite:
        raise CannotCreateError(f"{folder} holds a split already: use --overwrite or another -o")
    frames = [read_labelled(source, how) for source in config.sources]
    excluded = {
        duplicate_key(headline)
        for file in config.exclude
        for headline in read_labelled(file)["headline"]
    }
    if config.recipe == "tutorial":
        if len(frames) != 1 or excluded:
            raise UsageError("--recipe tutorial takes one source and no --exclude")
        parts, notes = tutorial_split(frames[0])
    else:
        parts, notes = clean_split(
            pl.concat(frames),
            excluded,
            valid_size=config.valid_size,
            test_size=config.test_size,
            seed=config.seed,
        )
    return _write_split(config, parts, notes)


def _write_split(
    config: PrepareConfig, parts: dict[str, pl.DataFrame], notes: dict[str, object]
) -> dict[str, object]:
    report: dict[str, object] = {
        "recipe": config.recipe,
        "sources": [
            {"file": f.name, "sha256": hashlib.sha256(f.read_bytes()).hexdigest()}
            for f in config.sources
        ],
        **notes,
        "rows": {name: part.height for name, part in parts.items()},
        "labels": {
            name: {label: int((part["label"] == label).sum()) for label in LABELS}
            for name, part in parts.items()
        },
    }
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        for name, part in parts.items():
            part.write_parquet(config.output / f"{name}.parquet")
        text = json.dumps(report, indent=2, ensure_ascii=False)
        (config.output / "split.json").write_text(text + "\n", "utf-8")
    except PermissionError as error:
        raise CannotCreateError(f"cannot write {config.output} ({error.strerror})") from None
    return report


def normalised(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with each headline in the normal form that `score` uses."""
    return frame.with_columns(
        pl.Series("headline", normalise(frame["headline"].to_list()), dtype=pl.String)
    )


def check_leakage(splits: Sequence[tuple[str, pl.DataFrame]]) -> None:
    """Refuse splits of which two share a headline.

    Raises:
        BadDataError: naming the two splits and how many headlines they share.
    """
    seen: dict[str, str] = {}
    shared: dict[tuple[str, str], int] = {}
    for name, frame in splits:
        for key in {duplicate_key(h) for h in frame["headline"]}:
            other = seen.setdefault(key, name)
            if other != name:
                shared[other, name] = shared.get((other, name), 0) + 1
    if shared:
        (one, other), count = next(iter(shared.items()))
        raise BadDataError(
            f"{count} headlines stand in both {one} and {other}: split again with "
            "finsent-batch prepare --exclude"
        )
