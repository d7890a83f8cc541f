"""What training begins with: its splits, checked, and an output folder that is free."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .config import TrainConfig
from .errors import BadDataError, CannotCreateError, MissingInputError
from .labelled import SPLITS, check_leakage, duplicate_key, normalised
from .labels import LABELS
from .models.directory import CARD_FILE
from .output_files import check_folder


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

    Raises:
        MissingInputError: a folder lacks a split.
        BadDataError: two splits share a headline, or training lacks a label.
    """
    digest = hashlib.sha256()
    frames: dict[str, list[pl.DataFrame]] = {split: [] for split in SPLITS}
    for folder in folders:
        for split in SPLITS:
            file = folder / f"{split}.parquet"
            if not file.exists():
                raise MissingInputError(
                    f"{file} does not exist: make it with finsent-batch prepare"
                )
            frame = normalised(pl.read_parquet(file, glob=False))
            digest.update(f"{folder.name}/{split}\n".encode())
            digest.update(frame.write_csv().encode())
            frames[split].append(frame.with_columns(pl.lit(folder.name).alias("folder")))
    splits = {split: pl.concat(parts, how="diagonal") for split, parts in frames.items()}
    check_leakage(list(splits.items()))
    missing = [label for label in LABELS if label not in set(splits["train"]["label"])]
    if missing:
        raise BadDataError(f"the training rows have no {missing[0]} headline: all three are needed")
    return Labelled(splits=splits, sha256=digest.hexdigest())


def held_out(data: Labelled) -> set[str]:
    """Return the `duplicate_key`s of the validation and test headlines."""
    frames = (data.splits["valid"], data.splits["test"])
    return {duplicate_key(headline) for frame in frames for headline in frame["headline"]}


def check_output(config: TrainConfig) -> None:
    """Make the output folder.

    Raises:
        CannotCreateError: it holds a model already, or cannot be made.
    """
    if (config.output / CARD_FILE).exists() and not config.overwrite:
        raise CannotCreateError(
            f"{config.output} holds a model already: use --overwrite or another -o"
        )
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        check_folder(config.output)
    except OSError as error:
        raise CannotCreateError(f"cannot create {config.output} ({error.strerror})") from None


def split_notes(folder: Path) -> dict[str, Any]:
    """Return what `prepare` wrote of a folder: its sources, recipe and counts."""
    file = folder / "split.json"
    notes = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return {"folder": folder.name, **notes}
