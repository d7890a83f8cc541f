"""BERT without padding: a batch's texts lie end to end, and attention stays within each text.

A small model takes less time for a batch than a host that waits for it, so that on a GPU what
counts is that nothing waits. How it works:

1. The texts of a chunk go to the GPU once, end to end and longest first, so that a batch is a slice
   of them; a GPU without room for all takes half as many. Nothing in the forward pass asks the GPU
   for a number, or hands it one from the host.
2. Queries, keys and values come from one product.
3. A kernel of our own attends within short texts (`short_attention`), flash attention (Dao 2023)
   within long ones. Where neither runs, on a CPU, in fp32 or with heads of an odd size, texts
   become padded rows for attention alone. Flash attention is called by its own name, because
   `varlen_attn` imports the compiler, for two seconds.
4. The mean of a text's states is a sum over its part of the row, in fp32.

It computes what `PlainBert` does, from the same weights.
"""

from contextlib import suppress
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ...arrays import IntArray
from ...hardware import kernels_usable
from ..base import Tokenized
from .plain_bert import PlainBert

_LARGEST_HEAD = 256
"""The numbers in a head that flash attention takes at most; they come in eights."""


class PackedBert:
    """A copy of a `PlainBert` in another arithmetic; texts of any sizes share a batch."""

    name = "packed"

    def __init__(self, model: PlainBert, dtype: torch.dtype) -> None:
        self._model: Any = deepcopy(model).to(dtype)
        self._heads = model.shape.num_attention_heads
        layers: Any = self._model.bert.encoder.layer
        self._joined = [_joined(layer.attention.self) for layer in layers]
        self._short = False
        if kernels_usable(weight := self._joined[0][0]):
            size = model.shape.hidden_size // self._heads
            with suppress(ImportError):  # a torch without Triton
                from .short_attention import compiles

                self._short = compiles(self._heads, size, dtype, weight.device)

    def texts(self, tokenized: Tokenized, chosen: IntArray) -> "PackedTexts":
        """Return the chosen texts, positions of shape (n,), to be run in batches."""
        return PackedTexts(tokenized, chosen, self._model.classifier.weight.device)

    def __call__(self, texts: "PackedTexts", batch: IntArray) -> torch.Tensor:
        """Return logits (b, labels) of texts that are neighbours in their order, (b,).

        Raises:
            torch.OutOfMemoryError: the device does not hold the batch.
        """
        bert = self._model.bert
        ids, positions, places = texts.batch(batch)
        states = bert.embeddings.packed(ids, positions)
        for layer, (weight, bias) in zip(bert.encoder.layer, self._joined, strict=True):
            joined = functional.linear(states, weight, bias).view(len(ids), 3, self._heads, -1)
            mixed = self._attend(joined, places)
            states = layer.behind_attention(mixed.flatten(1), states)
        if bert.pooler is None:
            mean = torch.segment_reduce(states.float(), "mean", lengths=places.sizes, unsafe=True)
        else:
            mean = bert.pooler.of_first(states[places.starts[:-1]]).float()
        logits: torch.Tensor = self._model.classifier(mean.to(states.dtype))
        return logits

    def _attend(self, joined: torch.Tensor, places: "_Places") -> torch.Tensor:
        if self._short:
            from .short_attention import LONGEST, attend_short

            if places.longest <= LONGEST:
                return attend_short(joined, places.starts, places.longest)
        query, key, value = joined.unbind(1)
        return _attend(query, key, value, places)


def _joined(attention: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of an attention's three products as one, and drop those."""
    parts = (attention.query, attention.key, attention.value)
    joined = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
    del attention.query, attention.key, attention.value
    return joined


class PackedTexts:
    """Texts, longest first, that go to a device in chunks: all at once where it holds them."""

    def __init__(self, tokenized: Tokenized, chosen: IntArray, device: torch.device) -> None:
        self._tokenized = tokenized
        self._device = device
        self._order = chosen[np.argsort(-tokenized.sizes[chosen], kind="stable")]
        self._place = np.zeros(len(tokenized.sizes), np.int64)
        self._place[self._order] = np.arange(len(self._order))
        self._most = len(self._order)
        self._chunk: PackedChunk | None = None

    def batch(self, texts: IntArray) -> tuple[torch.Tensor, torch.Tensor, "_Places"]:
        """Return ids and positions of some neighbours, (tokens,) int32, and where each lies.

        Raises:
            torch.OutOfMemoryError: the device does not hold even these alone.
        """
        first, last = int(self._place[texts[0]]), int(self._place[texts[-1]]) + 1
        assert np.array_equal(self._order[first:last], texts)
        if self._chunk is None or not self._chunk.first <= first < last <= self._chunk.last:
            self._chunk = None  # before the next one needs its memory
            self._chunk = self._next_chunk(first, last)
        return self._chunk.batch(first, last)

    def _next_chunk(self, first: int, last: int) -> "PackedChunk":
        """Hand over a batch and all that follows, or half as much while memory runs out."""
        while True:
            count = min(max(last - first, self._most), len(self._order) - first)
            chosen = self._order[first : first + count]
            try:
                return PackedChunk(self._tokenized, chosen, first, self._device)
            except torch.OutOfMemoryError:
                if first + count == last:
                    raise
            self._most = count // 2


class PackedChunk:
    """Texts on a device, end to end, in the order given; `first` and `last` bound their places."""

    def __init__(
        self, tokenized: Tokenized, chosen: IntArray, first: int, device: torch.device
    ) -> None:
        self.first, self.last = first, first + len(chosen)
        self._sizes = tokenized.sizes[chosen]
        self._bounds = np.concatenate([[0], np.cumsum(self._sizes)])
        tokens = int(self._bounds[-1])
        self._ids = torch.from_numpy(tokenized.packed(chosen)).to(device)
        self._starts = torch.from_numpy(self._bounds.astype(np.int32)).to(device)
        begins = self._starts[:-1].repeat_interleave(self._starts.diff(), output_size=tokens)
        self._positions = torch.arange(tokens, dtype=torch.int32, device=device) - begins

    def batch(self, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor, "_Places"]:
        """Return ids and positions of the texts of some places, and where each lies."""
        first, last = first - self.first, last - self.first
        tokens = slice(int(self._bounds[first]), int(self._bounds[last]))
        starts = self._starts[first : last + 1] - self._starts[first]
        places = _Places(starts, longest=int(self._sizes[first]))
        return self._ids[tokens], self._positions[tokens], places


class _Places:
    """Where each text of a batch lies in its row."""

    def __init__(self, starts: torch.Tensor, *, longest: int) -> None:
        self.starts = starts
        """First token of each text and, at the end, the count of tokens, (b + 1,) int32."""
        self.longest = longest
        self.sizes = starts.diff()

    def padded(self, x: torch.Tensor) -> torch.Tensor:
        """Return heads of the row (tokens, heads, size) as (b, heads, longest, size)."""
        steps = torch.arange(self.longest, device=x.device)
        rows = torch.minimum(self.starts[:-1, None] + steps, self.starts[1:, None] - 1)
        return x[rows].transpose(1, 2)

    @property
    def own(self) -> torch.Tensor:
        """Which places of the padded rows are tokens, (b, longest) bool."""
        steps = torch.arange(self.longest, device=self.starts.device)
        return steps < self.sizes[:, None]


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, places: _Places
) -> torch.Tensor:
    """Return each text's attention to itself; all are (tokens, heads, head size)."""
    if kernels_usable(query) and query.shape[-1] % 8 == 0 and query.shape[-1] <= _LARGEST_HEAD:
        bounds = (places.starts, places.starts, places.longest, places.longest)
        found: torch.Tensor = torch.ops.aten._flash_attention_forward(
            query, key, value, *bounds, 0.0, False, False
        )[0]
        return found
    q, k, v = (places.padded(part) for part in (query, key, value))
    mask = places.own[:, None, None]
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2)[places.own]
