"""Triton kernels for what lies between a decoder's products in training, forward and backward.

A training step of a few hundred tokens is thousands of kernels that a GPU starts one after another;
each takes a few microseconds, however little it does. PyTorch's operations and autograd make some
twenty of these, and some forty more of the rotation (`row_kernels.py`), in each layer:

- `normed_sum`, `normed_sum_back`: residual addition and RMS norm.
- `swiglu`, `swiglu_back`: SiLU of the gate times the up projection.

They compute in fp32 and round what they store once. Everything must be contiguous, a norm needs a
whole row in one program instance, and the norms' weights are frozen: they get no gradient.
"""

import torch
import triton
import triton.language as tl


@triton.jit
def _normed_sum(
    hidden, added, weight, total, out, width, epsilon, ADDED: tl.constexpr, BLOCK: tl.constexpr
):
    columns = tl.arange(0, BLOCK)
    there = columns < width
    places = tl.program_id(0).to(tl.int64) * width + columns
    x = tl.load(hidden + places, mask=there, other=0.0).to(tl.float32)
    if ADDED:
        x += tl.load(added + places, mask=there, other=0.0).to(tl.float32)
        tl.store(total + places, x.to(total.dtype.element_ty), mask=there)
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / width + epsilon)
    gain = tl.load(weight + columns, mask=there, other=0.0).to(tl.float32)
    tl.store(out + places, (x * scale * gain).to(out.dtype.element_ty), mask=there)


def normed_sum(
    hidden: torch.Tensor,
    added: torch.Tensor | None,
    weight: torch.Tensor,
    epsilon: float,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hidden + added, and its RMS norm times `weight` in `dtype`, (tokens, width) each."""
    total = hidden if added is None else torch.empty_like(hidden)
    out = torch.empty_like(hidden, dtype=dtype)
    width = hidden.shape[1]
    block = triton.next_power_of_2(width)
    _normed_sum[(len(hidden),)](
        hidden, added, weight, total, out, width, epsilon,
        ADDED=added is not None, BLOCK=block, num_warps=8 if block <= 4096 else 16,
    )  # fmt: skip
    return total, out


@triton.jit
def _normed_sum_back(
    total,
    weight,
    into_total,
    into_out,
    into_hidden,
    into_added,
    width,
    epsilon,
    TOTAL: tl.constexpr,
    ADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    columns = tl.arange(0, BLOCK)
    there = columns < width
    places = tl.program_id(0).to(tl.int64) * width + columns
    x = tl.load(total + places, mask=there, other=0.0).to(tl.float32)
    gain = tl.load(weight + columns, mask=there, other=0.0).to(tl.float32)
    given = tl.load(into_out + places, mask=there, other=0.0).to(tl.float32) * gain
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / width + epsilon)
    along = tl.sum(given * x, axis=0) / width
    result = scale * (given - x * (scale * scale * along))
    if TOTAL:
        result += tl.load(into_total + places, mask=there, other=0.0).to(tl.float32)
    tl.store(into_hidden + places, result.to(into_hidden.dtype.element_ty), mask=there)
    if ADDED:
        tl.store(into_added + places, result.to(into_added.dtype.element_ty), mask=there)


def normed_sum_back(
    total: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
    into_total: torch.Tensor | None,
    into_out: torch.Tensor,
    added: torch.dtype | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the gradients of `hidden` and, in the type `added`, of what was added to it."""
    into_hidden = torch.empty_like(total)
    into_added = None if added is None else torch.empty_like(total, dtype=added)
    width = total.shape[1]
    block = triton.next_power_of_2(width)
    _normed_sum_back[(len(total),)](
        total, weight, into_total, into_out, into_hidden, into_added, width, epsilon,
        TOTAL=into_total is not None, ADDED=added is not None,
        BLOCK=block, num_warps=8 if block <= 4096 else 16,
    )  # fmt: skip
    return into_hidden, into_added


_SWIGLU = 1024


@triton.jit
def _swiglu(gate, up, out, count, BLOCK: tl.constexpr):
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = places < count
    g = tl.load(gate + places, mask=there).to(tl.float32)
    u = tl.load(up + places, mask=there).to(tl.float32)
    tl.store(out + places, (g * tl.sigmoid(g) * u).to(out.dtype.element_ty), mask=there)


def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Return SiLU of `gate` times `up` (Shazeer 2020)."""
    out = torch.empty_like(gate)
    _swiglu[(triton.cdiv(gate.numel(), _SWIGLU),)](gate, up, out, gate.numel(), BLOCK=_SWIGLU)
    return out


@triton.jit
def _swiglu_back(gate, up, given, into_gate, into_up, count, BLOCK: tl.constexpr):
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = places < count
    g = tl.load(gate + places, mask=there).to(tl.float32)
    u = tl.load(up + places, mask=there).to(tl.float32)
    d = tl.load(given + places, mask=there).to(tl.float32)
    s = tl.sigmoid(g)
    for_gate = d * u * s * (1 + g * (1 - s))
    tl.store(into_gate + places, for_gate.to(into_gate.dtype.element_ty), mask=there)
    tl.store(into_up + places, (d * g * s).to(into_up.dtype.element_ty), mask=there)


def swiglu_back(
    gate: torch.Tensor, up: torch.Tensor, given: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of gate and up, where `given` is that of `swiglu`'s result."""
    into_gate, into_up = torch.empty_like(gate), torch.empty_like(up)
    _swiglu_back[(triton.cdiv(gate.numel(), _SWIGLU),)](
        gate, up, given, into_gate, into_up, gate.numel(), BLOCK=_SWIGLU
    )
    return into_gate, into_up
