"""Labelled headlines as prompts with their answers, tokenized for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl
import torch
from datasets import Dataset

from ..labels import LABELS
from ..scorers.causal.packed_attention import Packing
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
    multiple: int | None = None
    """Pad all texts to the longest one's length rounded up to this; None pads none."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return `input_ids`, `position_ids`, `labels`, each (1, tokens), and the `packing`."""
        size = len(self.prefix)
        if any(tuple(row["input_ids"][:size]) != self.prefix for row in rows):
            size = 0  # a headline whose first letters merge with the bracket: whole prompts
        bodies = [row["input_ids"][size:] for row in rows]
        answers = [row["labels"][size:] for row in rows]
        if self.multiple:
            # Behind a text nothing sees the padding.
            length = -(-max(map(len, bodies)) // self.multiple) * self.multiple
            bodies = [body + [0] * (length - len(body)) for body in bodies]
            answers = [answer + [IGNORED] * (length - len(answer)) for answer in answers]
        packing = Packing(lengths=[len(body) for body in bodies], device=self.device, inline=size)
        ids = [*self.prefix[:size], *(token for body in bodies for token in body)]
        labels = [IGNORED] * size + [label for answer in answers for label in answer]
        texts = (range(size, size + len(body)) for body in bodies)
        return {
            "input_ids": self._put(ids),
            "position_ids": self._put([*range(size), *chain.from_iterable(texts)]),
            "labels": self._put(labels),
            "packing": packing,
        }

    def _put(self, numbers: list[int]) -> torch.Tensor:
        """Return numbers, (1, n) int64, on the device, without waiting for what it computes."""
        return torch.tensor([numbers]).to(self.device, non_blocking=True)


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
