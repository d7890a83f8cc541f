"""BERT without padding: a batch's texts lie end to end, and attention stays within each text.

A small model takes less time for a batch than a host that waits for it, so that on a GPU what
counts is that nothing waits. How it works:

1. A batch is one row of ids and the size of each text. The host gathers both and hands them over
   from pinned memory; nothing in the forward pass asks the GPU for a number.
2. Queries, keys and values come from one product.
3. Flash attention (Dao 2023) takes texts of any size side by side; where it does not run, on a CPU
   or in fp32, texts become padded rows for attention alone. It is called by its own name, because
   `varlen_attn` imports the compiler, for two seconds.
4. The mean of a text's states is a sum over its part of the row, in fp32.

It computes what `PlainBert` does, from the same weights.
"""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ...arrays import IntArray
from ...hardware import kernels_usable
from ..base import Tokenized
from .plain_bert import PlainBert


class PackedBert:
    """A copy of a `PlainBert` in another arithmetic; texts of any sizes share a batch."""

    name = "packed"

    def __init__(self, model: PlainBert, dtype: torch.dtype) -> None:
        self._model: Any = deepcopy(model).to(dtype)
        self._heads = model.shape.num_attention_heads
        layers: Any = self._model.bert.encoder.layer
        self._joined = [_joined(layer.attention.self) for layer in layers]

    def __call__(self, tokenized: Tokenized, texts: IntArray) -> torch.Tensor:
        """Return logits (b, labels) of the texts at some positions, shape (b,)."""
        device = self._model.classifier.weight.device
        sizes = tokenized.sizes[texts]
        places = _Places(sizes, device)
        return self._run(_handed_over(tokenized.packed(texts), device), places)

    def _run(self, ids: torch.Tensor, places: "_Places") -> torch.Tensor:
        bert = self._model.bert
        states = bert.embeddings.packed(ids, places.positions)
        for layer, (weight, bias) in zip(bert.encoder.layer, self._joined, strict=True):
            joined = functional.linear(states, weight, bias)
            query, key, value = joined.view(len(ids), 3, self._heads, -1).unbind(1)
            mixed = _attend(query, key, value, places)
            states = layer.behind_attention(mixed.flatten(1), states)
        if bert.pooler is None:
            mean = torch.segment_reduce(states.float(), "mean", lengths=places.sizes, unsafe=True)
        else:
            mean = bert.pooler.of_first(states[places.starts[:-1]]).float()
        logits: torch.Tensor = self._model.classifier(mean.to(states.dtype))
        return logits


def _joined(attention: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of an attention's three products as one, and drop those."""
    parts = (attention.query, attention.key, attention.value)
    joined = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
    del attention.query, attention.key, attention.value
    return joined


class _Places:
    """Where each text of a batch lies in its row."""

    def __init__(self, sizes: IntArray, device: torch.device) -> None:
        self.longest = int(sizes.max())
        self.tokens = int(sizes.sum())
        starts = np.zeros(len(sizes) + 1, dtype=np.int32)
        np.cumsum(sizes, out=starts[1:])
        self.starts = _handed_over(starts, device)
        self.sizes = self.starts.diff()

    @property
    def positions(self) -> torch.Tensor:
        """The position of each token in its text, (tokens,) int32."""
        everyone = torch.arange(self.tokens, dtype=torch.int32, device=self.starts.device)
        return everyone - self.starts[:-1].repeat_interleave(self.sizes, output_size=self.tokens)

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
    if kernels_usable(query):
        bounds = (places.starts, places.starts, places.longest, places.longest)
        found: torch.Tensor = torch.ops.aten._flash_attention_forward(
            query, key, value, *bounds, 0.0, False, False
        )[0]
        return found
    q, k, v = (places.padded(part) for part in (query, key, value))
    mask = places.own[:, None, None]
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2)[places.own]


def _handed_over(numbers: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return numbers on a device, without waiting for what it computes just now."""
    host = torch.from_numpy(numbers)
    if device.type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)
