"""Linear layers of a causal model with the adapter folded in: 4-bit, dense and fp8.

The adapter is folded into the weights that it was trained on: NF4 ones as they
come out of dequantisation (QLoRA, Dettmers et al. 2023), not the originals. A
layer kept in 4 bits unpacks and folds for every batch, a dense one once; both
compute the same numbers.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .adapter import LowRank

_FP8 = torch.float8_e4m3fn
_FP8_LARGEST = 448.0


class DenseLinear(nn.Module):
    """A linear layer whose weight is cast to what comes in, so that fp32 in is fp32 throughout."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
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
        self._state = state
        self._low_rank = low_rank

    def dense(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the unpacked weight with the adapter folded in, and the bias, in a dtype."""
        bias = None if self.bias is None else self.bias.to(dtype)
        return fold(unpack(self.weight, self._state, dtype), self._low_rank), bias


class Fp8Linear(nn.Module):
    """A linear layer in 8-bit floats (E4M3), a scale for each output and for each token."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        scale = (weight.float().abs().amax(dim=1, keepdim=True) / _FP8_LARGEST).clamp_min(1e-12)
        quantised = (weight.float() / scale).clamp(-_FP8_LARGEST, _FP8_LARGEST).to(_FP8)
        self.register_buffer("weight", quantised, persistent=False)
        self.register_buffer("scale", scale.t().contiguous(), persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x @ W.T + b for x of shape (…, in); fp32 in is computed in fp32."""
        if x.dtype == torch.float32:
            weight = self.weight.float() * self.scale.t()
            return functional.linear(x, weight, None if self.bias is None else self.bias.float())
        rows = x.reshape(-1, x.shape[-1])
        scale = (rows.abs().amax(dim=1, keepdim=True).float() / _FP8_LARGEST).clamp_min(1e-12)
        quantised = (rows.float() / scale).clamp(-_FP8_LARGEST, _FP8_LARGEST).to(_FP8)
        product = torch._scaled_mm(
            quantised, self.weight.t(), scale_a=scale, scale_b=self.scale, out_dtype=x.dtype
        )
        result = product if self.bias is None else product + self.bias.to(x.dtype)
        return result.reshape(*x.shape[:-1], -1)


def unpack(packed: torch.Tensor, state: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return a bitsandbytes 4-bit weight as a dense one, (out, in)."""
    from bitsandbytes.functional import dequantize_4bit

    state.dtype = dtype
    weight: torch.Tensor = dequantize_4bit(packed, state)
    return weight


def fold(weight: torch.Tensor, low_rank: LowRank | None) -> torch.Tensor:
    """Add B @ A times its scale to `weight`, in place, and return it."""
    if low_rank is None:
        return weight
    a, b = (part.to(weight) for part in (low_rank.a, low_rank.b))
    return weight.addmm_(b, a, alpha=low_rank.scale)


def converted(layer: nn.Linear, weights: str, dtype: torch.dtype, low_rank: LowRank | None) -> Any:
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
    if state is not None:
        weight = unpack(layer.weight.data, state, dtype)
    else:
        weight = layer.weight.detach().to(dtype, copy=True)
    weight = fold(weight, low_rank)
    return Fp8Linear(weight, bias) if weights == "fp8" else DenseLinear(weight, bias)
