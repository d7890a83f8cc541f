"""Read the split folders that `prepare` made, and check them for training."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..config import LabelledFormat
from ..errors import BadDataError, MissingInputError, UsageError
from ..labels import LABELS
from .duplicates import check_leakage, duplicate_key, normalized
from .formats import AGREEMENT, SPLITS, read_labelled

_FORMAT = LabelledFormat(owner="prepare's ")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The rows of all data folders: split name to frame of headline, label, folder."""

    splits: dict[str, pl.DataFrame]
    sha256: str

    def folders(self, split: str) -> dict[str, pl.DataFrame]:
        """Return one split's rows by the folder they came from."""
        frame = self.splits[split]
        names = frame["folder"].unique(maintain_order=True)
        return {name: frame.filter(pl.col("folder") == name) for name in names}


def load_splits(folders: tuple[Path, ...]) -> Labelled:
    """Read the folders that `prepare` made and check that no headline is in two splits.

    Neither in two of a folder, nor in one split of a folder and another of the next.

    Raises:
        UsageError: two folders have one name.
        MissingInputError: a folder lacks a split.
        BadDataError: a file is no labelled data, two splits share a headline, or training
            lacks a label.
    """
    names = [folder.absolute().name for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"two --data folders are called {twice[0]}, and rows are told apart by that: rename one"
        )
    digest = hashlib.sha256()
    frames: dict[str, list[pl.DataFrame]] = {split: [] for split in SPLITS}
    for folder, name in zip(folders, names, strict=True):
        for split in SPLITS:
            file = folder / f"{split}.parquet"
            if not file.exists():
                raise MissingInputError(
                    f"{file} does not exist: make it with finsent-batch prepare"
                )
            frame = _read_split(file)
            digest.update(f"{name}/{split}\n".encode())
            digest.update(frame.write_csv().encode())
            frames[split].append(frame.with_columns(pl.lit(name).alias("folder")))
    splits = {split: pl.concat(parts, how="diagonal") for split, parts in frames.items()}
    check_leakage(list(splits.items()))
    missing = [label for label in LABELS if label not in set(splits["train"]["label"])]
    if missing:
        raise BadDataError(f"the training rows have no {missing[0]} headline: all three are needed")
    return Labelled(splits=splits, sha256=digest.hexdigest())


def _read_split(file: Path) -> pl.DataFrame:
    """Return headline, label and, where the file tells it, annotators' agreement."""
    frame = normalized(read_labelled(file, _FORMAT))
    if "agreement" not in pl.read_parquet_schema(file):
        return frame
    agreement = pl.read_parquet(file, glob=False)["agreement"]
    known = {None, *AGREEMENT.values()}
    if not known.issuperset(agreement.unique().to_list()):
        raise BadDataError(
            f"{file}: agreement is {', '.join(map(str, AGREEMENT.values()))} or null, the least "
            "share of annotators who agreed: give those values, or leave the column out"
        )
    return frame.with_columns(agreement.cast(pl.Float64))


def held_out(data: Labelled) -> set[str]:
    """Return the `duplicate_key`s of the validation and test headlines."""
    frames = (data.splits["valid"], data.splits["test"])
    return {duplicate_key(headline) for frame in frames for headline in frame["headline"]}


def split_notes(folder: Path) -> dict[str, Any]:
    """Return what `prepare` wrote of a folder: its sources, recipe and counts."""
    file = folder / "split.json"
    notes = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return {"folder": folder.absolute().name, **notes}
