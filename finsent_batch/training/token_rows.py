"""Training rows as token ids on disk: as many as wanted in flat memory, batches in one copy."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import torch

from ..arrays import IntArray
from ..labels import LABELS

_PARTS: Final = {
    "ids": np.dtype(np.int32),
    "lengths": np.dtype(np.int32),
    "targets": np.dtype(np.float32),
    "weights": np.dtype(np.float32),
}


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
        encoded = self._tokenizer(list(headlines), truncation=True, max_length=self._max_length)[
            "input_ids"
        ]
        parts = {
            "ids": np.concatenate([np.asarray(ids) for ids in encoded]),
            "lengths": np.fromiter(map(len, encoded), np.int32, len(encoded)),
            "targets": targets,
            "weights": weights,
        }
        for name, values in parts.items():
            self._files[name].write(np.ascontiguousarray(values, dtype=_PARTS[name]).tobytes())
        self.rows += len(encoded)


class TokenRows(torch.utils.data.Dataset[Any]):
    """The rows of one epoch, read from such files; a position of the epoch is one row of them.

    `__getitems__` gives a whole padded batch: `input_ids`, `attention_mask` (b, tokens),
    int64; `labels` (b, 3) and `weight` (b,), float32.
    """

    def __init__(self, folder: Path, order: IntArray, padding: int) -> None:
        self._ids, lengths, targets, self._weights = (
            np.memmap(folder / f"{name}.bin", dtype=kind, mode="r") for name, kind in _PARTS.items()
        )
        self._targets = targets.reshape(-1, len(LABELS))
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._order = order
        self._padding = padding

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
        ids = np.full((len(rows), int((ends - starts).max())), self._padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for line, (start, end) in enumerate(zip(starts, ends, strict=True)):
            ids[line, : end - start] = self._ids[start:end]
            mask[line, : end - start] = 1
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.from_numpy(self._targets[rows]),
            "weight": torch.from_numpy(self._weights[rows]),
        }
