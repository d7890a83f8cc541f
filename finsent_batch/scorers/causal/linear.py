"""Linear layers of a causal model with the adapter folded in: 4-bit, dense and fp8.

The adapter is folded into the weights that it was trained on: NF4 ones as they
come out of dequantisation (QLoRA, Dettmers et al. 2023), not the originals. A
layer kept in 4 bits unpacks and folds for every batch, a dense one once; both
compute the same numbers.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .lora import LowRank

_FP8 = torch.float8_e4m3fn
_FP8_LARGEST = 448.0


Input = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
"""What a product takes: activations, or fp8 ones with a scale for each token."""


class Linear(nn.Module):
    """A linear layer in its scoring form: `prepare` what goes in, then call with it."""

    @property
    def kind(self) -> type["Linear"]:
        """The class that knows how to prepare the input."""
        return type(self)

    @staticmethod
    def prepare(x: torch.Tensor) -> Input:
        """Return activations as the product takes them."""
        return x


class DenseLinear(Linear):
    """A linear layer whose weight is cast to what comes in, so that fp32 in is fp32 throughout."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return x @ W.T + b for x of shape (…, in)."""
        weight, bias = self.dense(x.dtype)
        return functional.linear(x, weight, bias)

    def dense(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight and bias in a dtype."""
        bias = None if self.bias is None else self.bias.to(dtype)
        return self.weight.to(dtype), bias


class Nf4Linear(DenseLinear):
    """A linear layer kept in 4 bits, unpacked and folded for each batch.

    `packed` and `state` are bitsandbytes' data and quantisation state.
    """

    def __init__(
        self, packed: torch.Tensor, state: Any, bias: torch.Tensor | None, low_rank: LowRank | None
    ) -> None:
        super().__init__(packed, bias)
        self.outputs: int = state.shape[0]
        self._state = state
        self._low_rank = low_rank

    def dense(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the unpacked weight with the adapter folded in, and the bias, in a dtype."""
        bias = None if self.bias is None else self.bias.to(dtype)
        return fold(dequantize(self.weight, self._state, dtype), self._low_rank), bias

    def dequantize_into(self, weight: torch.Tensor) -> None:
        """Write the unpacked, folded weight into a (out, in) tensor."""
        dequantize(self.weight, self._state, weight.dtype, out=weight)
        fold(weight, self._low_rank)


class Nf4Group(Linear):
    """4-bit layers on the same input as one product, unpacked side by side."""

    def __init__(self, parts: Sequence[Nf4Linear]) -> None:
        super().__init__()
        self._parts = list(parts)

    def forward(self, x: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return all layers' outputs side by side for x of shape (tokens, in)."""
        sizes = [part.outputs for part in self._parts]
        weight = torch.empty(sum(sizes), x.shape[-1], dtype=x.dtype, device=x.device)
        for part, rows in zip(self._parts, torch.split(weight, sizes), strict=True):
            part.dequantize_into(rows)
        return functional.linear(x, weight, _joined_bias(self._parts, x.dtype))


class Fp8Linear(Linear):
    """A linear layer in 8-bit floats (E4M3), a scale for each output and for each token."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        scale = (weight.float().abs().amax(dim=1, keepdim=True) / _FP8_LARGEST).clamp_min(1e-12)
        quantized = (weight.float() / scale).clamp(-_FP8_LARGEST, _FP8_LARGEST).to(_FP8)
        self.register_buffer("weight", quantized, persistent=False)
        self.register_buffer("scale", scale.t().contiguous(), persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    @staticmethod
    def prepare(x: torch.Tensor) -> Input:
        """Quantize activations (tokens, in), a scale a token; fp32 ones stay as they are."""
        if x.dtype == torch.float32:
            return x
        wide = x.float()
        scale = (wide.abs().amax(dim=1, keepdim=True) / _FP8_LARGEST).clamp_min(1e-12)
        return (wide / scale).clamp(-_FP8_LARGEST, _FP8_LARGEST).to(_FP8), scale

    def forward(self, x: Input, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return x @ W.T + b for prepared x of shape (tokens, in), in `dtype`."""
        if isinstance(x, torch.Tensor) and x.dtype != torch.float32:
            # transformers' own forward, on the padded path, prepares nothing
            rows = self(self.prepare(x.reshape(-1, x.shape[-1])), x.dtype)
            return torch.as_tensor(rows).reshape(*x.shape[:-1], -1)
        if isinstance(x, torch.Tensor):
            weight = self.weight.float() * self.scale.t()
            return functional.linear(x, weight, None if self.bias is None else self.bias.float())
        quantized, scale = x
        product = torch._scaled_mm(
            quantized,
            self.weight.t(),
            scale_a=scale,
            scale_b=self.scale,
            out_dtype=dtype,
            use_fast_accum=True,
        )
        return product if self.bias is None else product + self.bias.to(product.dtype)


def fuse(layers: Sequence[Any]) -> Linear:
    """Return scoring layers on the same input as one, outputs side by side."""
    if isinstance(layers[0], Nf4Linear):
        return Nf4Group(layers)
    if len(layers) == 1:
        only: Linear = layers[0]
        return only
    joined: Linear = copy(layers[0])
    joined._buffers = {
        "weight": torch.cat([layer.weight for layer in layers]),
        "bias": _joined_bias(layers, layers[0].weight.dtype),
    }
    if isinstance(joined, Fp8Linear):
        joined._buffers["scale"] = torch.cat([layer.scale for layer in layers], dim=1)
    for layer in layers:
        layer.weight = None  # the copy is the only one kept
    return joined


def _joined_bias(layers: Sequence[Any], dtype: torch.dtype) -> torch.Tensor | None:
    if all(layer.bias is None for layer in layers):
        return None
    return torch.cat([layer.bias.to(dtype) for layer in layers])


def dequantize(
    packed: torch.Tensor, state: Any, dtype: torch.dtype, *, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Return a bitsandbytes 4-bit weight as a dense one, (out, in), in `out` if given."""
    from bitsandbytes.functional import dequantize_4bit

    state.dtype = dtype
    if out is not None and out.is_cuda:
        dequantize_4bit(packed, state, out=out)
        return out
    weight: torch.Tensor = dequantize_4bit(packed, state)
    return weight if out is None else out.copy_(weight)  # on a CPU it writes into nothing given


def fold(weight: torch.Tensor, low_rank: LowRank | None) -> torch.Tensor:
    """Add B @ A times its scale to `weight`, in place, and return it."""
    if low_rank is None:
        return weight
    a, b = (part.to(weight) for part in (low_rank.a, low_rank.b))
    return weight.addmm_(b, a, alpha=low_rank.scale)


def to_scoring_linear(
    layer: nn.Linear, weights: str, dtype: torch.dtype, low_rank: LowRank | None
) -> Any:
    """Return the scoring form of a linear layer, 4-bit or not, for `weights` and its adapter.

    `dtype` is what the batches are computed in.
    """
    bias = None if layer.bias is None else layer.bias.detach()
    state = getattr(layer.weight, "quant_state", None)
    if state is not None and weights == "nf4":
        packed = layer.weight.data
        # Where and as each batch folds it: moving it for every batch would cost more than folding.
        part = low_rank and low_rank.to(packed.device, dtype)
        return Nf4Linear(packed, state, bias, part)
    scales = getattr(layer.weight, "SCB", None)
    if state is not None:
        weight = dequantize(layer.weight.data, state, dtype)
    elif scales is not None:
        # bitsandbytes' 8 bits: the largest of each row is 127 (LLM.int8, Dettmers et al. 2022).
        weight = (layer.weight.data.float() * (scales.float() / 127)[:, None]).to(dtype)
    else:
        weight = layer.weight.detach().to(dtype, copy=True)
    weight = fold(weight, low_rank)
    return Fp8Linear(weight, bias) if weights == "fp8" else DenseLinear(weight, bias)
