"""The rows that an encoder is trained on: labelled ones, and headlines that teachers answered."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..config import LabelledFormat
from ..labelled.duplicates import duplicate_key, normalized
from ..labelled.formats import read_labelled
from ..labelled.mixture import epoch_rows, soft_targets
from ..labelled.near_duplicates import HeldOut
from ..labelled.soft_labels import SoftLabels, open_soft_labels, soft_rows
from ..labelled.split_folders import Labelled, held_out
from ..train_config import TrainConfig
from .checkpoints import CHECKPOINTS, TRANSFER
from .token_rows import TokenRows, TokenRowWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """One epoch's rows, and what the manifest says of the soft labels among them."""

    rows: TokenRows
    soft_labels: dict[str, Any] | None


@contextmanager
def training_rows(config: TrainConfig, data: Labelled, tokenizer: Any) -> Iterator[TrainingRows]:
    """Write an epoch's rows to a folder among the checkpoints, which goes when training ends.

    An epoch has each labelled row `repeat_labelled` times, those of the first folder
    `repeat_first` times as often, and each headline of the soft labels once.

    Raises:
        FinsentError: the soft labels cannot be used; see `open_soft_labels` and `soft_rows`.
    """
    folder = config.output / CHECKPOINTS / TRANSFER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        labelled = epoch_rows(data.splits["train"], config, held_out(data))
        targets = soft_targets(labelled, config.label_smoothing_factor)
        soft: SoftLabels | None = None
        with TokenRowWriter(folder, tokenizer, config.max_length) as writer:
            if config.soft_labels:
                soft = _write_soft(config, data, labelled, folder, writer)
                _blend(targets, labelled, soft, config.soft_weight)
            unlabelled = writer.rows
            writer.append(labelled["headline"].to_list(), targets, labelled["weight"].to_numpy())
            rows = writer.rows
        own = np.arange(unlabelled, rows, dtype=np.int64)
        order = np.concatenate(
            [np.arange(unlabelled, dtype=np.int64), *[own] * config.repeat_labelled]
        )
        yield TrainingRows(
            rows=TokenRows(folder, order, tokenizer.pad_token_id),
            soft_labels=None if soft is None else soft.notes(),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_soft(
    config: TrainConfig, data: Labelled, labelled: pl.DataFrame, folder: Path, writer: Any
) -> SoftLabels:
    others = LabelledFormat(label_required=False)
    forbidden = [data.splits["valid"]["headline"], data.splits["test"]["headline"]]
    forbidden += [normalized(read_labelled(file, others))["headline"] for file in config.exclude]
    soft = open_soft_labels(config.soft_labels, folder, text_column=config.soft_text_column)
    with soft.connection:
        for headlines, targets in soft_rows(
            soft,
            {duplicate_key(headline) for headline in labelled["headline"]},
            HeldOut(headline for frame in forbidden for headline in frame),
            neutral_share=config.soft_neutral_share,
            drop_held_out=config.drop_held_out,
        ):
            writer.append(headlines, targets, np.ones(len(headlines), dtype=np.float32))
    logger.info(
        "soft labels: %s", ", ".join(f"{count} {name}" for name, count in soft.counts.items())
    )
    return soft


def _blend(
    targets: npt.NDArray[np.float32], labelled: pl.DataFrame, soft: SoftLabels, weight: float
) -> None:
    """Move the targets of rows that teachers answered towards their answers, in place."""
    for row, headline in enumerate(labelled["headline"]):
        answer = soft.of_training.get(duplicate_key(headline))
        if answer is not None:
            targets[row] += weight * (np.array(answer, dtype=np.float32) - targets[row])
