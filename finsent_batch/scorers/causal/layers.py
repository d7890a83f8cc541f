"""Decoder layers arranged for scoring: fewer, larger products and little between them.

The query, key and value products of a Llama-like layer are one, gate and up are one, and on a GPU
what lies between products is one Triton kernel each (rotation and attention are one), for fp8 with
the quantisation of what it gives. The arithmetic is transformers' own, layer by layer.
"""

from typing import Any, Final

import torch
from torch.nn import functional

from ...hardware import kernels_usable
from .linear import Fp8Linear, Input, Linear, fuse
from .packed_attention import Packing, attend

Rotary = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine of each token's position, each (tokens, head size)."""

Sum = tuple[torch.Tensor, torch.Tensor]
"""Two addends, (tokens, hidden) each: adding them is left to the next norm's kernel."""

ACTIVATIONS: Final = ("silu", "swish")


class ScoringLayer:
    """One layer of a Llama-like decoder, made from transformers' own."""

    def __init__(self, layer: Any, config: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.index: int = attention.layer_idx
        self._head_size: int = attention.head_dim
        self._scale: float = attention.scaling
        self._qkv = fuse([attention.q_proj, attention.k_proj, attention.v_proj])
        self._heads = (
            config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads,
        )  # fmt: skip
        # Qwen3 norms each head's queries and keys.
        self._head_norms = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
        self._output = fuse([attention.o_proj])
        self._gate_up = fuse([mlp.gate_proj, mlp.up_proj])
        self._down = fuse([mlp.down_proj])
        self._norms = layer.input_layernorm, layer.post_attention_layernorm

    def __call__(
        self, states: Sum, packing: Packing, rotary: Rotary, last: torch.Tensor | None
    ) -> Sum:
        """Return the layer's output for states (tokens, hidden), both as a sum still to be made.

        Given `last`, indices of tokens, only theirs go on after attention: (n, hidden).
        """
        before, after = self._norms
        hidden, entering = _added_and_normed(*states, before, self._qkv.kind)
        mixed = self._attention(self._qkv(entering, hidden.dtype), packing, rotary)
        if last is not None:
            mixed, hidden = mixed[last], hidden[last]
        mixed = mixed.reshape(len(mixed), -1)
        added = self._output(_prepared(mixed, self._output.kind), hidden.dtype)
        hidden, entering = _added_and_normed(hidden, added, after, self._gate_up.kind)
        gated = self._gate_up(entering, hidden.dtype)
        entering = _activated(gated, self._down.kind)
        return hidden, self._down(entering, hidden.dtype)

    def _attention(self, qkv: torch.Tensor, packing: Packing, rotary: Rotary) -> torch.Tensor:
        """Rotate queries and keys and attend; returns (tokens, heads, head size)."""
        heads = qkv.view(len(qkv), -1, self._head_size)
        parts = torch.split(heads, list(self._heads), dim=1)
        query, key = (
            part if norm is None else norm(part)
            for norm, part in zip(self._head_norms, parts[:2], strict=True)
        )
        if kernels_usable(qkv) and packing.kept is None:
            from .triton_attention import attend_packed

            if query is not parts[0]:
                parts[0].copy_(query)
                parts[1].copy_(key)
            prefix = packing.prefix[self.index] if packing.prefix else None
            counts = self._heads[:2]
            return attend_packed(heads, rotary, packing.begins, prefix, counts, self._scale)
        query, key = rotated(query, key, *rotary)
        return attend(packing, self.index, query, key, parts[2], self._scale)


def _rms(hidden: torch.Tensor, norm: Any) -> torch.Tensor:
    """Root-mean-square norm (Zhang and Sennrich 2019), in fp32 as transformers has it."""
    wide = hidden.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
    normed: torch.Tensor = norm.weight.to(hidden.dtype) * (wide * scale).to(hidden.dtype)
    return normed


def _added_and_normed(
    hidden: torch.Tensor, added: torch.Tensor, norm: Any, kind: type[Linear]
) -> tuple[torch.Tensor, Input]:
    if not hidden.is_cuda:
        total = hidden + added
        return total, kind.prepare(_rms(total, norm))
    from .triton_kernels import add_norm, add_norm_fp8

    numbers = norm.weight, norm.variance_epsilon
    if _in_fp8(hidden, kind):
        return add_norm_fp8(hidden, added, *numbers)
    return add_norm(hidden, added, *numbers)


def _prepared(x: torch.Tensor, kind: type[Linear]) -> Input:
    if x.is_cuda and _in_fp8(x, kind):
        from .triton_kernels import quantize_fp8

        return quantize_fp8(x)
    return kind.prepare(x)


def _activated(gate_up: torch.Tensor, kind: type[Linear]) -> Input:
    """Return SiLU of the gate times the up projection, prepared for the next product."""
    if not gate_up.is_cuda:
        return _swiglu(gate_up, kind)
    from .triton_kernels import swiglu, swiglu_fp8

    return swiglu_fp8(gate_up) if _in_fp8(gate_up, kind) else swiglu(gate_up)


def _in_fp8(x: torch.Tensor, kind: type[Linear]) -> bool:
    """Return whether a product takes `x` in fp8; what is computed in fp32 stays so."""
    return kind is Fp8Linear and x.dtype != torch.float32


def _swiglu(gate_up: torch.Tensor, kind: type[Linear]) -> Input:
    """SiLU of the gate times the up projection (Shazeer 2020)."""
    gate, up = gate_up.chunk(2, dim=-1)
    return kind.prepare(functional.silu(gate) * up)


def rotated(
    query: torch.Tensor, key: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotary position embedding (Su et al. 2021), halves of a head turned against each other."""
    cosine, sine = cosine[:, None], sine[:, None]

    def turned(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * cosine + torch.cat((-second, first), dim=-1) * sine

    return turned(query), turned(key)
