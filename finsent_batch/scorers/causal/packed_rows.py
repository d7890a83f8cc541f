"""Attention of a packed batch for training: texts become rows behind the instruction they share.

A batch is one row of tokens: the prefix, computed with it, then the texts end to end. Products,
norms and activations so run on real tokens alone. Attention needs rows: each text's tokens behind
a copy of the prefix, plain causal attention within, and what it gives goes back to the tokens'
places. Merging a prefix's attention with a text's by log-sum-exp, as scoring could, would have no
backward pass.

Where everything lies is in two tensors of indices. Their shapes depend on the numbers of texts,
columns and tokens alone, so that one recording of a step (`training/cuda_graphs.py`) serves all
batches that share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class PackedRows:
    """Which token of a packed batch stands where in its rows, and the way back."""

    prefix: int
    """Tokens at the start of the batch that all texts see."""
    rows: torch.Tensor
    """A token's index for each place, (texts, prefix + columns) int64; padding has any."""
    places: torch.Tensor
    """The place of each token, (tokens,) int64, in `rows` flattened; the prefix's in row 0."""

    @classmethod
    def of(cls, lengths: Sequence[int], *, prefix: int, columns: int, device: torch.device) -> Self:
        """Return the rows of texts of so many tokens, each at most `columns`."""
        sizes = np.asarray(lengths, np.int64)[:, None]
        ends = prefix + np.cumsum(sizes)[:, None]
        steps = np.arange(columns)
        # Padding repeats a text's last token, or where there is none its neighbour's.
        texts = np.minimum(ends - sizes + steps, ends - 1).clip(0)
        before = np.broadcast_to(np.arange(prefix), (len(sizes), prefix))
        own = np.concatenate((np.zeros_like(before, np.bool_), steps < sizes), axis=1)
        own[0, :prefix] = True

        def put(numbers: Any) -> torch.Tensor:
            return torch.from_numpy(numbers).to(device, non_blocking=True)

        rows = np.concatenate((before, texts), axis=1)
        return cls(prefix=prefix, rows=put(rows), places=put(np.flatnonzero(own)))

    def clone(self) -> Self:
        """Return a copy with memory of its own."""
        return type(self)(prefix=self.prefix, rows=self.rows.clone(), places=self.places.clone())

    def copy_(self, other: Self) -> None:
        """Take another batch's indices, of the same shapes, into the same memory."""
        self.rows.copy_(other.rows)
        self.places.copy_(other.places)


def attend_in_rows(
    packing: PackedRows, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> torch.Tensor:
    """Return the attention of a packed batch, (tokens, heads, head size); see `attend`."""
    states = torch.cat((query.to(value.dtype), key.to(value.dtype), value), dim=1)
    whole = _ToRows.apply(states, packing)  # type: ignore[no-untyped-call]
    heads = [part.shape[1] for part in (query, key, value)]
    q, k, v = torch.split(whole, heads, dim=2)
    return attend_rows(packing, q, k, v, scale)


def attend_rows(
    packing: PackedRows, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> torch.Tensor:
    """Return the attention of rows, (texts, columns, heads, head size), back in the batch."""
    q, k, v = (part.transpose(1, 2) for part in (query, key, value))
    mixed = functional.scaled_dot_product_attention(
        q, k, v, is_causal=True, scale=scale, enable_gqa=k.shape[1] != q.shape[1]
    )
    texts: torch.Tensor = _FromRows.apply(mixed.transpose(1, 2), packing)  # type: ignore[no-untyped-call]
    return texts


class _ToRows(torch.autograd.Function):
    """Copies a packed batch (tokens, heads, head size) to its rows.

    A token's gradient is that of its one place, as nothing comes back to padding; only the
    prefix's is a sum. PyTorch, which cannot know, would add up all places one by one.
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, packing: PackedRows) -> torch.Tensor:
        ctx.packing = packing
        rows = packing.rows
        return states.index_select(0, rows.flatten()).view(*rows.shape, *states.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        [given] = gradients
        size = ctx.packing.prefix
        texts = given.flatten(0, 1).index_select(0, ctx.packing.places[size:])
        return torch.cat((given[:, :size].sum(0), texts)), None


class _FromRows(torch.autograd.Function):
    """Copies rows (texts, prefix + columns, heads, head size) back to a packed batch."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, packing: PackedRows) -> torch.Tensor:
        ctx.packing, ctx.shape = packing, rows.shape
        return rows.flatten(0, 1).index_select(0, packing.places)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        [given] = gradients
        rows = given.new_zeros(ctx.shape)
        rows.flatten(0, 1).index_copy_(0, ctx.packing.places, given)
        return rows, None
