"""Causal attention over a packed batch: texts end to end, no padding between them.

1. The instruction all prompts begin with, the prefix, runs once; its keys and values are kept.
2. A batch is one row, the headlines' tokens end to end; `Packing` says where each text starts.
3. On a GPU one kernel (`triton_attention`) takes each text's own tokens and the prefix. Elsewhere,
   and in fp32, texts become rows.

Registered with transformers, so that its own layers take packed batches too, and make no mask.
`Packing` is the only mask: sliding windows run padded (`decoders.packable`). The kernel has no
backward pass: training has `packed_rows`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface

from .packed_rows import PackedRows, attend_in_rows

NAME: Final = "finsent_packed"

States = tuple[torch.Tensor, torch.Tensor]
"""A layer's keys and values, each (tokens, key heads, head size), rotated already."""


@dataclass(kw_only=True)
class Packing:
    """Where each text of a packed batch lies, and the keys and values all of them see first."""

    lengths: list[int]
    """Tokens of each text, prefix apart."""
    device: torch.device
    prefix: dict[int, States] | None = None
    """By layer; None when the texts are whole prompts."""
    kept: dict[int, States] | None = None
    """Filled by layer with this batch's own keys and values, when not None."""

    @cached_property
    def prefix_tokens(self) -> int:
        """Tokens of the shared prefix."""
        if not self.prefix:
            return 0
        return next(iter(self.prefix.values()))[0].shape[0]

    @cached_property
    def starts(self) -> torch.Tensor:
        """First token of each text and, at the end, the count of tokens, (n + 1,) int32."""
        sizes = torch.tensor([0, *self.lengths], dtype=torch.int32)
        return sizes.cumsum(0, dtype=torch.int32).to(self.device, non_blocking=True)

    @cached_property
    def last(self) -> torch.Tensor:
        """Index of each text's last token, (n,) int64."""
        return self.starts[1:].long() - 1

    @cached_property
    def begins(self) -> torch.Tensor:
        """First token of every token's text, (tokens,) int32."""
        return self.starts[:-1].repeat_interleave(self._sizes, output_size=sum(self.lengths))

    @cached_property
    def positions(self) -> torch.Tensor:
        """Position of every token in its whole prompt, (1, tokens) int64."""
        everyone = torch.arange(sum(self.lengths), device=self.device)
        return (everyone - self.begins + self.prefix_tokens)[None]

    @cached_property
    def _sizes(self) -> torch.Tensor:
        return torch.tensor(self.lengths).to(self.device, non_blocking=True)

    @cached_property
    def padded(self) -> torch.Tensor:
        """Index of each text's tokens, rows padded with their last one, (n, longest) int64."""
        steps = torch.arange(max(self.lengths), device=self.device)
        return torch.minimum(self.starts[:-1, None].long() + steps, self.last[:, None])

    @cached_property
    def tokens(self) -> torch.Tensor:
        """Which entries of `padded`, flattened, are tokens of their own, (tokens,) int64."""
        own = torch.arange(max(self.lengths), device=self.device) < self._sizes[:, None]
        # As indices and once a batch: a mask would make the GPU wait for the CPU in every layer.
        return own.flatten().nonzero()[:, 0]

    @cached_property
    def mask(self) -> torch.Tensor:
        """Which keys a padded row's queries see, (longest, prefix + longest) bool.

        Padding comes after every real token, so that causality alone hides it.
        """
        longest = max(self.lengths)
        keys = self.prefix_tokens + longest
        ones = torch.ones(longest, keys, dtype=torch.bool, device=self.device)
        return ones.tril(self.prefix_tokens)


def attend(
    packing: Packing,
    layer: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Return the attention of a packed batch, (tokens, heads, head size).

    `query` is (tokens, heads, head size), `key` and `value` (tokens, key heads,
    head size), one key head serving heads / key heads query heads.
    """
    if packing.kept is not None:
        packing.kept[layer] = (key, value)
    prefix = packing.prefix[layer] if packing.prefix else None
    return _padded(packing, prefix, query, key, value, scale)


def _padded(
    packing: Packing,
    prefix: States | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Attend in rows padded to the longest text: nearly the same size once sorted by length."""
    rows = packing.padded
    q, k, v = (part[rows].transpose(1, 2) for part in (query, key, value))
    if prefix is not None:
        before = [p.transpose(0, 1).expand(len(rows), -1, -1, -1) for p in prefix]
        k, v = torch.cat((before[0], k), dim=2), torch.cat((before[1], v), dim=2)
    mixed = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=packing.mask, scale=scale, enable_gqa=k.shape[1] != q.shape[1]
    )
    return mixed.transpose(1, 2).flatten(0, 1).index_select(0, packing.tokens)


def _for_transformers(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    packing: Packing | PackedRows,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: (1, heads, tokens, head size) in, heads last out."""
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    if isinstance(packing, PackedRows):
        return attend_in_rows(packing, q, k, v, scaling)[None], None
    return attend(packing, module.layer_idx, q, k, v, scaling)[None], None


def _no_mask(*_: Any, **__: Any) -> None:
    """Build no mask: `Packing` says who sees whom."""


AttentionInterface.register(NAME, _for_transformers)
AttentionMaskInterface.register(NAME, _no_mask)
