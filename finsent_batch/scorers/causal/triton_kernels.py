"""Triton kernels for what lies between a decoder's matrix products, one pass over memory each.

A product of a 7B model keeps the GPU's arithmetic busy; what lies between two products (norm,
rotary embedding, SwiGLU, rounding to fp8) only reads and writes memory. PyTorch runs each as
several kernels, each of which reads and writes all activations again, which costs a fifth of the
time. Here each is one kernel: a program instance takes one token's row, loads it once, computes in
fp32, and stores the result once.

- `add_norm`: residual addition and RMS norm, rounded where transformers rounds, to fp8 if wanted.
- `rotate_`: rotary position embedding of queries and keys, in place.
- `swiglu`: SiLU of the gate times the up projection, to fp8 if wanted.
- `merge_`: two attention results into one by their log-sum-exps (see `packed_attention`).
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
def _rotate(qkv, cosine, sine, row, turning, HEADS: tl.constexpr, HALF: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    heads = tl.arange(0, HEADS)[:, None]
    half = tl.arange(0, HALF)[None, :]
    places = qkv + token * row + heads * 2 * HALF + half
    there = heads < turning
    first = tl.load(places, mask=there).to(tl.float32)
    second = tl.load(places + HALF, mask=there).to(tl.float32)
    c = tl.load(cosine + token * 2 * HALF + half).to(tl.float32)
    s = tl.load(sine + token * 2 * HALF + half).to(tl.float32)
    tl.store(places, (first * c - second * s).to(qkv.dtype.element_ty), mask=there)
    tl.store(places + HALF, (second * c + first * s).to(qkv.dtype.element_ty), mask=there)


def rotate_(qkv: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, heads: int) -> None:
    """Rotate the first `heads` heads of qkv (tokens, all heads, head size) in place.

    `cosine` and `sine` are (tokens, head size), both halves alike.
    """
    tokens, _, size = qkv.shape
    _rotate[(tokens,)](
        qkv, cosine, sine, qkv.stride(0), heads,
        HEADS=triton.next_power_of_2(heads), HALF=size // 2, num_warps=8,
    )  # fmt: skip


@triton.jit
def _merge(
    own,
    own_sum,
    shared,
    shared_sum,
    tokens,
    HEADS: tl.constexpr,
    POWER: tl.constexpr,
    SIZE: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    heads = tl.arange(0, POWER)
    there = heads < HEADS
    a = tl.load(own_sum + heads * tokens + token, mask=there, other=0.0)
    b = tl.load(shared_sum + heads * tokens + token, mask=there, other=0.0)
    weight = tl.sigmoid(b - a)[:, None]
    places = token * HEADS * SIZE + heads[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    x = tl.load(own + places, mask=there[:, None]).to(tl.float32)
    y = tl.load(shared + places, mask=there[:, None]).to(tl.float32)
    tl.store(own + places, (x + (y - x) * weight).to(own.dtype.element_ty), mask=there[:, None])


def merge_(
    own: torch.Tensor, own_sum: torch.Tensor, shared: torch.Tensor, shared_sum: torch.Tensor
) -> torch.Tensor:
    """Merge attention over two sets of keys into `own`, (tokens, heads, head size).

    The log-sum-exps are (heads, tokens), fp32, contiguous.
    """
    tokens, heads, size = own.shape
    _merge[(tokens,)](
        own, own_sum, shared, shared_sum, tokens,
        HEADS=heads, POWER=triton.next_power_of_2(heads), SIZE=size, num_warps=8,
    )  # fmt: skip
    return own


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
