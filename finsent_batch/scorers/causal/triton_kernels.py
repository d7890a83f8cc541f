"""Triton kernels for what lies between a decoder's matrix products, one pass over memory each.

A product of a 7B model keeps the GPU's arithmetic busy; what lies between two products (norm,
SwiGLU, rounding to fp8) only reads and writes memory. PyTorch runs each as
several kernels, each of which reads and writes all activations again, which costs a fifth of the
time. Here each is one kernel: a program instance takes one token's row, loads it once, computes in
fp32, and stores the result once.

- `add_norm`: residual addition and RMS norm, rounded where transformers rounds, to fp8 if wanted.
- `swiglu`: SiLU of the gate times the up projection, to fp8 if wanted.
- `quantize_fp8`: E4M3 with one scale a token, the largest magnitude to 448.

They replace torch.compile, which fuses as well but compiles for seconds at every start. The price:
rows must be contiguous, and norms and fp8 need a whole row in one program instance. Without a GPU
PyTorch's own operations compute the same (`layers.py`).
"""

import torch
import triton
import triton.language as tl

_FP8_LARGEST = tl.constexpr(448.0)

Fp8 = tuple[torch.Tensor, torch.Tensor]
"""Numbers in fp8 (E4M3), (tokens, width), and each token's scale, (tokens, 1) fp32."""


@triton.jit
def _swiglu(gate_up, out, width, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = columns < width
    gate = tl.load(gate_up + token * 2 * width + columns, mask=there).to(tl.float32)
    up = tl.load(gate_up + token * 2 * width + width + columns, mask=there).to(tl.float32)
    result = gate * tl.sigmoid(gate) * up
    tl.store(out + token * width + columns, result.to(out.dtype.element_ty), mask=there)


def swiglu(gate_up: torch.Tensor) -> torch.Tensor:
    """Return SiLU of the first half times the second, (tokens, width) of (tokens, 2 * width)."""
    tokens, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(tokens, width, dtype=gate_up.dtype, device=gate_up.device)
    _swiglu[(tokens, triton.cdiv(width, 2048))](gate_up, out, width, BLOCK=2048, num_warps=8)
    return out


@triton.jit
def _store_fp8(values, out, scales, token, columns, width):
    scale = tl.maximum(tl.max(tl.abs(values), axis=0) / _FP8_LARGEST, 1e-12)
    tl.store(scales + token, scale)
    # A value that is no number stays none: its text has to come out as invalid.
    quantized = tl.clamp(
        values / scale, -_FP8_LARGEST, _FP8_LARGEST, propagate_nan=tl.PropagateNan.ALL
    )
    tl.store(out + token * width + columns, quantized.to(tl.float8e4nv), mask=columns < width)


@triton.jit
def _swiglu_fp8(gate_up, out, scales, width, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    there = columns < width
    gate = tl.load(gate_up + token * 2 * width + columns, mask=there, other=0.0).to(tl.float32)
    up = tl.load(gate_up + token * 2 * width + width + columns, mask=there, other=0.0)
    result = gate * tl.sigmoid(gate) * up.to(tl.float32)
    _store_fp8(result, out, scales, token, columns, width)


def swiglu_fp8(gate_up: torch.Tensor) -> Fp8:
    """Return `swiglu` in fp8 with a scale for each token."""
    tokens, width = gate_up.shape[0], gate_up.shape[1] // 2
    out, scales = _empty_fp8(tokens, width, gate_up.device)
    block = triton.next_power_of_2(width)
    _swiglu_fp8[(tokens,)](gate_up, out, scales, width, BLOCK=block, num_warps=16)
    return out, scales


@triton.jit
def _add_norm(
    hidden,
    added,
    weight,
    total,
    out,
    scales,
    width,
    epsilon,
    FP8: tl.constexpr,
    BLOCK: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    there = columns < width
    places = token * width + columns
    a = tl.load(hidden + places, mask=there, other=0.0).to(tl.float32)
    b = tl.load(added + places, mask=there, other=0.0).to(tl.float32)
    summed = (a + b).to(total.dtype.element_ty)
    tl.store(total + places, summed, mask=there)
    wide = summed.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, axis=0) / width + epsilon)
    # Rounded where transformers rounds.
    scaled = (wide * scale).to(total.dtype.element_ty).to(tl.float32)
    gain = tl.load(weight + columns, mask=there, other=0.0).to(total.dtype.element_ty)
    normed = gain.to(tl.float32) * scaled
    if FP8:
        _store_fp8(normed, out, scales, token, columns, width)
    else:
        tl.store(out + places, normed.to(out.dtype.element_ty), mask=there)


def add_norm(
    hidden: torch.Tensor, added: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hidden + added and its root-mean-square norm times `weight`, (tokens, width) each."""
    total, out = torch.empty_like(hidden), torch.empty_like(hidden)
    _launch_add_norm(hidden, added, weight, epsilon, total, out, None)
    return total, out


def add_norm_fp8(
    hidden: torch.Tensor, added: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, Fp8]:
    """Return hidden + added, and `add_norm`'s norm in fp8 with a scale for each token."""
    total = torch.empty_like(hidden)
    out, scales = _empty_fp8(hidden.shape[0], hidden.shape[1], hidden.device)
    _launch_add_norm(hidden, added, weight, epsilon, total, out, scales)
    return total, (out, scales)


def _launch_add_norm(
    hidden: torch.Tensor,
    added: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
    total: torch.Tensor,
    out: torch.Tensor,
    scales: torch.Tensor | None,
) -> None:
    tokens, width = hidden.shape
    block = triton.next_power_of_2(width)
    _add_norm[(tokens,)](
        hidden, added, weight, total, out, scales, width, epsilon,
        FP8=scales is not None, BLOCK=block, num_warps=8 if block <= 4096 else 16,
    )  # fmt: skip


@triton.jit
def _quantize(rows, out, scales, width, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    values = tl.load(rows + token * width + columns, mask=columns < width, other=0.0)
    _store_fp8(values.to(tl.float32), out, scales, token, columns, width)


def quantize_fp8(rows: torch.Tensor) -> Fp8:
    """Return (tokens, width) in fp8 with a scale for each token."""
    tokens, width = rows.shape
    out, scales = _empty_fp8(tokens, width, rows.device)
    block = triton.next_power_of_2(width)
    _quantize[(tokens,)](rows.contiguous(), out, scales, width, BLOCK=block, num_warps=8)
    return out, scales


def _empty_fp8(tokens: int, width: int, device: torch.device) -> Fp8:
    out = torch.empty(tokens, width, dtype=torch.float8_e4m3fn, device=device)
    return out, torch.empty(tokens, 1, dtype=torch.float32, device=device)
