"""Labelled headlines as prompts with their answers, tokenized for training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl
import torch
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from torch.utils.data import Sampler

from ..labels import LABELS
from ..scorers.causal.packed_rows import PackedRows
from ..scorers.causal.prompt_tokens import PromptTokens

IGNORED = -100
"""The label id that transformers' losses skip."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The tokens that each label's word adds to a prompt, as in `LABELS`."""

    ids: tuple[list[int], ...]


def training_set(
    tokens: PromptTokens, answers: Answers, rows: pl.DataFrame, *, loss: str
) -> tuple[Dataset, int]:
    """Return rows as `input_ids`, `labels` and `length`, and how many headlines were cut.

    The prompts are those of scoring, token for token. The loss counts the answer's
    tokens, or with `full-text` every token, as the tutorial did.
    """
    tokenized = tokens.encode(rows["headline"].to_list())
    entries: dict[str, list[Any]] = {"input_ids": [], "labels": [], "length": []}
    for question, label in zip(tokenized.rows(), rows["label"], strict=True):
        answer = answers.ids[LABELS.index(label)]
        ids = [*question, *answer]
        entries["input_ids"].append(ids)
        entries["labels"].append(
            list(ids) if loss == "full-text" else [IGNORED] * len(question) + answer
        )
        entries["length"].append(len(ids))
    return Dataset.from_dict(entries), int(tokenized.truncated.sum())


@dataclass(frozen=True, kw_only=True)
class PackedCollator:
    """Rows as one packed sequence behind the instruction they share, which is computed once.

    With the label's loss this is the padded batch's arithmetic exactly, at about
    half its tokens: the instruction sees no headline, and no headline another.
    """

    prefix: tuple[int, ...]
    device: torch.device
    recorded: bool = False
    """Fill batches up, so that few shapes come up: each is recorded once."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return `input_ids`, `position_ids`, `labels`, each (1, tokens), and the `packing`."""
        size = len(self.prefix)
        if any(tuple(row["input_ids"][:size]) != self.prefix for row in rows):
            size = 0  # a headline whose first letters merge with the bracket: whole prompts
        bodies = [row["input_ids"][size:] for row in rows]
        answers = [row["labels"][size:] for row in rows]
        columns = max(map(len, bodies))
        if self.recorded:
            columns = max(_COLUMNS, _rounded_up(columns, _STEP))
            for padding in _filling(size + sum(map(len, bodies)), columns):
                bodies.append([0] * padding)
                answers.append([IGNORED] * padding)
        lengths = [len(body) for body in bodies]
        texts = (range(size, size + length) for length in lengths)
        return {
            "input_ids": self._put([*self.prefix[:size], *chain.from_iterable(bodies)]),
            "position_ids": self._put([*range(size), *chain.from_iterable(texts)]),
            "labels": self._put([*[IGNORED] * size, *chain.from_iterable(answers)]),
            "packing": PackedRows.of(lengths, prefix=size, columns=columns, device=self.device),
        }

    def _put(self, numbers: list[int]) -> torch.Tensor:
        """Return numbers, (1, n) int64, on the device, without waiting for what it computes."""
        return torch.tensor([numbers]).to(self.device, non_blocking=True)


class EvenShares(Sampler[int]):
    """Rows at random, dealt so that processes which share a batch get about as many tokens.

    PyTorch's generator decides which rows are a batch, whatever the number of processes; the one
    with the most tokens would be waited for. Packed, rows of unlike lengths need no padding but in
    attention.
    """

    def __init__(self, lengths: Sequence[int], share: int, processes: int) -> None:
        self._lengths = list(lengths)
        self._share, self._processes = share, processes

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(len(self)).tolist()
        if self._processes > 1 and torch.distributed.is_initialized():
            # A resumed process has a generator of its own, whose dropout drew from it, too.
            [order] = broadcast_object_list([order])
        batch = self._share * self._processes
        for begin in range(0, len(order), batch):
            yield from self._dealt(order[begin : begin + batch])

    def _dealt(self, rows: list[int]) -> Iterator[int]:
        """Yield a batch's rows, one process's after the other's; the longest are dealt first."""
        if self._processes == 1 or len(rows) < self._share * self._processes:
            yield from rows
            return
        shares: list[list[int]] = [[] for _ in range(self._processes)]
        tokens = [0] * self._processes
        for row in sorted(rows, key=lambda row: -self._lengths[row]):
            open_shares = (i for i, share in enumerate(shares) if len(share) < self._share)
            least = min(open_shares, key=lambda i: tokens[i])
            shares[least].append(row)
            tokens[least] += self._lengths[row]
        yield from chain.from_iterable(shares)


_STEP = 64
_COLUMNS = 128
"""Least width of a recorded batch's rows: hardly any headline is longer."""


def row_places(rows: int, longest: int, prefix: int) -> int:
    """Return the places of the rows that a recorded batch attends in, at most."""
    columns = max(_COLUMNS, _rounded_up(longest, _STEP))
    filling = -(-_size_step(prefix + rows * longest) // columns)
    return (rows + filling) * (prefix + columns)


def filled_up(tokens: int) -> int:
    """Return to how many tokens a recorded batch of so many is filled up."""
    return _rounded_up(tokens, _size_step(tokens))


def _filling(tokens: int, columns: int) -> list[int]:
    """Return the lengths of texts of padding, none over `columns`, that fill a batch up.

    Sizes are an eighth of a power of two apart, and 64 at least: random batches of one number of
    rows so have about five, of which padding is some 5 %. How many texts there are depends on the
    size and the columns alone.
    """
    missing = filled_up(tokens) - tokens
    return [
        min(columns, max(0, missing - begun)) for begun in range(0, _size_step(tokens), columns)
    ]


def _size_step(tokens: int) -> int:
    return max(_STEP, (1 << (tokens - 1).bit_length()) // 16)


def _rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step


def balanced(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return rows with the smaller classes repeated until all are as large as the largest.

    Whole repetitions first, then rows drawn without replacement by `seed`.
    """
    largest = max(rows.filter(pl.col("label") == label).height for label in LABELS)
    parts: Sequence[pl.DataFrame] = [rows]
    for label in LABELS:
        own = rows.filter(pl.col("label") == label)
        times, rest = divmod(largest - own.height, own.height)
        parts = [*parts, *[own] * times, own.sample(rest, seed=seed)]
    return pl.concat(parts)
