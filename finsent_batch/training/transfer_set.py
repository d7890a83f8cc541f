"""The rows that an encoder is trained on: labelled ones, and headlines that teachers answered.

They lie as token ids on disk: as many as wanted in flat memory, batches in one copy.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from ..arrays import IntArray
from ..config import LabelledFormat
from ..labelled.duplicates import duplicate_key, normalized
from ..labelled.formats import read_labelled
from ..labelled.mixture import epoch_rows, soft_targets
from ..labelled.near_duplicates import HeldOut
from ..labelled.soft_labels import SoftLabels, open_soft_labels, soft_rows
from ..labelled.split_folders import Labelled, held_out
from ..labels import LABELS
from ..train_config import TrainConfig
from .checkpoints import CHECKPOINTS, TRANSFER
from .cuda_graphs import records

logger = logging.getLogger(__name__)

_PARTS: Final = {
    "ids": np.dtype(np.int32),
    "lengths": np.dtype(np.int32),
    "targets": np.dtype(np.float32),
    "weights": np.dtype(np.float32),
}


LENGTHS: Final = 8
"""Where steps are recorded, rows are padded to a multiple of this: few shapes come up."""


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """One epoch's rows, and what the manifest says of the soft labels among them."""

    rows: "TokenRows"
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
            rows=TokenRows(
                folder,
                order,
                tokenizer.pad_token_id,
                multiple=LENGTHS if records() else 1,
                limit=config.max_length,
            ),
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


class TokenRowWriter:
    """Tokenizes headlines and appends them, with targets and weights, to files in a folder."""

    def __init__(self, folder: Path, tokenizer: Any, max_length: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._tokenizer, self._max_length = tokenizer, max_length
        self._files: dict[str, BinaryIO] = {
            name: (folder / f"{name}.bin").open("wb") for name in _PARTS
        }
        self.rows = 0

    def __enter__(self) -> "TokenRowWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()

    def append(
        self,
        headlines: Sequence[str],
        targets: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32],
    ) -> None:
        """Add rows: target probabilities of shape (n, 3), loss weights of shape (n,)."""
        encoded = self._tokenizer(
            list(headlines),
            truncation=True,
            max_length=self._max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        parts = {
            "ids": np.fromiter(chain.from_iterable(encoded), np.int32),
            "lengths": np.fromiter(map(len, encoded), np.int32, len(encoded)),
            "targets": targets,
            "weights": weights,
        }
        for name, values in parts.items():
            self._files[name].write(np.ascontiguousarray(values, dtype=_PARTS[name]).tobytes())
        self.rows += len(encoded)


class TokenRows(torch.utils.data.Dataset[Any]):
    """The rows of one epoch, read from such files; a position of the epoch is one row of them.

    Batches are as long as their longest row, rounded up to a `multiple` but not beyond `limit`.

    `__getitems__` gives a whole padded batch: `input_ids`, `attention_mask` (b, tokens),
    int64; `labels` (b, 3) and `weight` (b,), float32.
    """

    def __init__(
        self, folder: Path, order: IntArray, padding: int, *, multiple: int = 1, limit: int
    ) -> None:
        self._ids, lengths, targets, self._weights = (
            np.memmap(folder / f"{name}.bin", dtype=kind, mode="r") for name, kind in _PARTS.items()
        )
        self._targets = targets.reshape(-1, len(LABELS))
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._order = order
        self._padding, self._multiple, self._limit = padding, multiple, limit

    def __len__(self) -> int:
        return len(self._order)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each position of the epoch."""
        return np.diff(self._starts)[self._order].tolist()  # type: ignore[no-any-return]

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        return {name: values[0] for name, values in self.__getitems__([position]).items()}

    def __getitems__(self, positions: list[int]) -> dict[str, torch.Tensor]:
        rows = self._order[positions]
        starts, ends = self._starts[rows], self._starts[rows + 1]
        longest = int((ends - starts).max())
        width = max(longest, min(self._limit, -(-longest // self._multiple) * self._multiple))
        places = starts[:, None] + np.arange(width)
        mask = places < ends[:, None]
        # What lies beyond a row's end is another row's, or beyond the file.
        ids = np.where(mask, self._ids[np.minimum(places, len(self._ids) - 1)], self._padding)
        return {
            "input_ids": torch.from_numpy(ids.astype(np.int64)),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            "labels": torch.from_numpy(self._targets[rows]),
            "weight": torch.from_numpy(self._weights[rows]),
        }
