"""Splits: the tutorial's, reproduced row by row, and a clean one."""

import json
import logging
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from sklearn.model_selection import train_test_split

from ..config import PrepareConfig
from ..errors import BadDataError, CannotCreateError, UsageError
from ..io.atomic import frame_bytes, sha256_file
from ..io.whole.folders import replacing_folder
from ..io.whole.protected import check_free_folder, protected
from ..labels import LABELS
from .duplicates import duplicate_key, normalized
from .formats import AGREEMENT, SPLITS, LabelledRows, read_labelled, read_labelled_rows
from .near_duplicates import HeldOut
from .variations import variations

logger = logging.getLogger(__name__)

_TUTORIAL_ORDER: Final = ("positive", "neutral", "negative")
_TUTORIAL_ROWS: Final = 300
_TUTORIAL_VALID_ROWS: Final = 50
_TUTORIAL_SEED: Final = 42
_TUTORIAL_SHUFFLE_SEED: Final = 10


def prepare(config: PrepareConfig) -> dict[str, object]:
    """Split labelled sources and write train/valid/test.parquet and split.json.

    Returns the contents of split.json.

    Raises:
        UsageError: options that cannot be met together.
        BadDataError: unusable data, or fewer rows than the recipe needs.
        CannotCreateError: the folder holds a split already, or cannot be made.
    """
    # The named columns are the sources' own; what labels mean holds everywhere.
    exclude_how = replace(config.format, text_column=None, label_column=None)
    if config.valid_size + config.test_size >= 1:
        raise UsageError("--valid-size and --test-size leave nothing for training: lower them")
    folder = config.output
    if (folder / "split.json").exists() and not config.overwrite:
        raise CannotCreateError(f"{folder} holds a split already: use --overwrite or another -o")
    files = (*(f"{name}.parquet" for name in (*SPLITS, "variations")), "split.json")
    read = protected(inputs=[*config.sources, *config.exclude])
    check_free_folder(folder, files, read)
    rows = [read_labelled_rows(source, config.format) for source in config.sources]
    frames = [found.frame for found in rows]
    excluded = {
        duplicate_key(headline)
        for file in config.exclude
        for headline in normalized(read_labelled(file, exclude_how))["headline"]
    }
    if config.recipe == "tutorial":
        if len(frames) != 1 or excluded:
            raise UsageError("--recipe tutorial takes one source and no --exclude")
        parts, notes = tutorial_split(frames[0])
    else:
        parts, notes = clean_split(
            pl.concat(_with_agreement(config, frames)),
            excluded,
            valid_size=config.valid_size,
            test_size=config.test_size,
            seed=config.seed,
        )
    extra = _variations(config, parts) if config.variations else None
    return _write_split(config, parts, {**_accounts(config, rows), **notes}, extra)


def _variations(config: PrepareConfig, parts: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Return variations of the training headlines that are near no other known one."""
    exclude_how = replace(config.format, text_column=None, label_column=None)
    others = [parts["valid"], parts["test"]]
    others += [read_labelled(file, exclude_how) for file in config.exclude]
    known = (headline for frame in others for headline in normalized(frame)["headline"])
    drawn = variations(
        normalized(parts["train"])["headline"].to_list(),
        config.variations,
        seed=config.seed,
        held_out=HeldOut(known),
    )
    return pl.DataFrame({"headline": list(drawn)}, schema={"headline": pl.String})


def _accounts(config: PrepareConfig, rows: list[LabelledRows]) -> dict[str, object]:
    """Return how many rows each source has, and which it left out itself."""
    names = [source.name for source in config.sources]
    return {
        "rows_read": {name: found.read for name, found in zip(names, rows, strict=True)},
        "left_out": {
            name: {reason: count for reason, count in found.left_out.items() if count}
            for name, found in zip(names, rows, strict=True)
        },
    }


def _with_agreement(config: PrepareConfig, frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Add PhraseBank's annotator agreement, which its file names tell, where a source has it."""
    found = [AGREEMENT.get(source.name) for source in config.sources]
    if not any(found):
        return frames
    return [
        frame.with_columns(pl.lit(agreement, dtype=pl.Float64).alias("agreement"))
        for frame, agreement in zip(frames, found, strict=True)
    ]


def _write_split(
    config: PrepareConfig,
    parts: dict[str, pl.DataFrame],
    notes: dict[str, object],
    extra: pl.DataFrame | None,
) -> dict[str, object]:
    report: dict[str, object] = {
        "recipe": config.recipe,
        "sources": [{"file": f.name, "sha256": sha256_file(f)} for f in config.sources],
        **notes,
        "rows": {name: part.height for name, part in parts.items()},
        "labels": {
            name: {label: int((part["label"] == label).sum()) for label in LABELS}
            for name, part in parts.items()
        },
    }
    if extra is not None:
        report["variations"] = extra.height
        parts = {**parts, "variations": extra}
    with replacing_folder(config.output, index="split.json") as folder:
        for name, part in parts.items():
            (folder / f"{name}.parquet").write_bytes(frame_bytes(part, "parquet"))
        text = json.dumps(report, indent=2, ensure_ascii=False)
        (folder / "split.json").write_text(text + "\n", "utf-8")
    return report


def tutorial_split(frame: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], dict[str, object]]:
    """Return the split of the tutorial "Fine-tune Llama 2 for sentiment analysis".

    Per class 300 training and 300 test rows by scikit-learn's `train_test_split`
    with random_state 42, classes in the order positive, neutral, negative;
    training rows shuffled as pandas' `sample(frac=1, random_state=10)` does. Of
    what is left up to 50 rows a class are for validation, drawn without
    replacement: the tutorial drew with replacement, repeating its four negatives.

    Raises:
        BadDataError: a class has fewer than 600 rows.
    """
    labels = frame["label"].to_numpy()
    train: list[int] = []
    test: list[int] = []
    for label in _TUTORIAL_ORDER:
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2 * _TUTORIAL_ROWS:
            raise BadDataError(
                f"the tutorial's split needs {2 * _TUTORIAL_ROWS} {label} rows; "
                f"there are {len(rows)}"
            )
        some_train, some_test = train_test_split(
            rows,
            train_size=_TUTORIAL_ROWS,
            test_size=_TUTORIAL_ROWS,
            random_state=_TUTORIAL_SEED,
        )
        train.extend(some_train)
        test.extend(some_test)
    used = {*train, *test}
    draw = np.random.RandomState(_TUTORIAL_SHUFFLE_SEED)
    shuffled = np.asarray(train)[draw.choice(len(train), size=len(train), replace=False)]
    valid: list[int] = []
    for label in _TUTORIAL_ORDER:
        left = [i for i in np.flatnonzero(labels == label) if i not in used]
        draw = np.random.RandomState(_TUTORIAL_SHUFFLE_SEED)
        valid.extend(draw.choice(left, min(_TUTORIAL_VALID_ROWS, len(left)), replace=False))
    parts = {"train": frame[shuffled], "valid": frame[valid], "test": frame[test]}
    notes: dict[str, object] = {
        "note": "duplicates stay, as in the tutorial; validation is drawn without replacement"
    }
    return parts, notes


def clean_split(
    frame: pl.DataFrame, excluded: set[str], *, valid_size: float, test_size: float, seed: int
) -> tuple[dict[str, pl.DataFrame], dict[str, object]]:
    """Return a split without duplicates, conflicting labels or excluded headlines.

    Stratified by label; every headline in normal form; no headline (by
    `duplicate_key`) is in two parts or twice in one.

    Raises:
        BadDataError: nothing is left of a class.
    """
    keyed = normalized(frame)
    keyed = keyed.with_columns(
        pl.Series("key", [duplicate_key(h) for h in keyed["headline"]], dtype=pl.String)
    )
    full = keyed.height
    keyed = keyed.filter(pl.col("key") != "")
    conflicting = keyed.filter(pl.col("label").n_unique().over("key") > 1)
    kept = keyed.filter(pl.col("label").n_unique().over("key") == 1)
    distinct = kept.unique("key", keep="first", maintain_order=True)
    clean = distinct.filter(~pl.col("key").is_in(list(excluded))).drop("key")
    notes: dict[str, object] = {
        "seed": seed,
        "removed": {
            "blank": full - keyed.height,
            "conflicting_labels": conflicting.height,
            "duplicates": kept.height - distinct.height,
            "excluded": distinct.height - clean.height,
        },
    }
    missing = [label for label in LABELS if label not in set(clean["label"])]
    if missing:
        raise BadDataError(f"no {missing[0]} rows are left: the three labels are all needed")
    rest, test = _take(clean, test_size, seed, "test")
    train, valid = _take(rest, valid_size / (1 - test_size), seed, "valid")
    return {"train": train, "valid": valid, "test": test}, notes


def _take(
    frame: pl.DataFrame, share: float, seed: int, part: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if round(frame.height * share) < len(LABELS):
        if share:
            logger.warning(
                "no rows for %s.parquet: its share of %d rows is less than one of each label; "
                "add rows, or name a larger --%s-size", part, frame.height, part,
            )  # fmt: skip
        return frame, frame.clear()
    try:
        kept, taken = train_test_split(
            np.arange(frame.height), test_size=share, random_state=seed, stratify=frame["label"]
        )
    except ValueError:
        counts = ", ".join(f"{(frame['label'] == label).sum()} {label}" for label in LABELS)
        raise BadDataError(
            f"too few rows to split ({counts}): add rows, or leave splits out with --valid-size 0 "
            "and --test-size 0"
        ) from None
    return frame[np.sort(kept)], frame[np.sort(taken)]
