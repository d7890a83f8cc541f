"""Attention of short texts that lie end to end, as one Triton kernel.

Flash attention computes in tiles of 128 tokens, of which a headline fills a fifth: it took half of
a small model's time on a GPU. How this works: a program instance takes one text and one head,
loads all of its queries, keys and values, and has its softmax (in fp32) and its result without a
loop. The price: texts beyond `LONGEST` tokens, whose scores would not fit into registers, are left
to flash attention.
"""

import logging

import torch
import triton
import triton.language as tl

logger = logging.getLogger(__name__)

LONGEST = 128
"""Tokens of the longest text that the kernel takes."""
_TILES = {32: 1, 64: 2, LONGEST: 4}
"""Tokens that an instance has room for, and its warps."""
_WIDEST = 128
"""Numbers in a head that the kernel takes: more would not fit into registers either."""
_LOG2_E = 1.4426950408889634


@triton.jit
def _attend(
    qkv,
    starts,
    out,
    scale,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    TILE: tl.constexpr,
):
    text = tl.program_id(0) // HEADS
    head = tl.program_id(0) % HEADS
    start = tl.load(starts + text)
    steps = tl.arange(0, TILE)
    own = steps < tl.load(starts + text + 1) - start
    columns = tl.arange(0, PADDED)
    wanted = own[:, None] & (columns < WIDTH)[None, :]
    rows = (start + steps).to(tl.int64)[:, None]
    places = qkv + rows * 3 * HEADS * WIDTH + head * WIDTH + columns[None, :]
    query = tl.load(places, mask=wanted, other=0.0)
    key = tl.load(places + HEADS * WIDTH, mask=wanted, other=0.0)
    value = tl.load(places + 2 * HEADS * WIDTH, mask=wanted, other=0.0)
    scores = tl.dot(query, tl.trans(key)) * scale
    scores = tl.where(own[None, :], scores, float("-inf"))
    powers = tl.exp2(scores - tl.max(scores, axis=1)[:, None])
    mixed = tl.dot(powers.to(value.dtype), value) / tl.sum(powers, axis=1)[:, None]
    target = out + rows * HEADS * WIDTH + head * WIDTH + columns[None, :]
    tl.store(target, mixed.to(out.dtype.element_ty), mask=wanted)


def attend_short(qkv: torch.Tensor, starts: torch.Tensor, longest: int) -> torch.Tensor:
    """Return each text's attention to itself, (tokens, heads, head size), bf16 or fp16.

    `qkv` is (tokens, 3, heads, head size), contiguous: queries, keys and values. `starts`, (texts +
    1,) int32, are each text's first token and the count of tokens; `longest`, at most `LONGEST`,
    the tokens of the longest text.
    """
    tokens, _, heads, width = qkv.shape
    out = torch.empty(tokens, heads, width, dtype=qkv.dtype, device=qkv.device)
    tile = min(tile for tile in _TILES if tile >= longest)
    _attend[((len(starts) - 1) * heads,)](
        qkv, starts, out, _LOG2_E * width**-0.5, HEADS=heads, WIDTH=width,
        PADDED=max(16, triton.next_power_of_2(width)), TILE=tile, num_warps=_TILES[tile],
    )  # fmt: skip
    return out


def compiles(heads: int, width: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Compile the kernel for heads of a width, and return whether it is to be used on the device.

    Triton needs a C compiler, which a machine may lack.
    """
    if width > _WIDEST:
        return False
    try:
        for tile in _TILES:
            qkv = torch.zeros(tile, 3, heads, width, dtype=dtype, device=device)
            bounds = torch.tensor([0, tile], dtype=torch.int32, device=device)
            attend_short(qkv, bounds, tile)
        torch.cuda.synchronize(device)
    except Exception as error:  # noqa: BLE001 - a compiler's, a linker's or a driver's
        logger.debug("flash attention for short texts, too: %r", error)
        return False
    return True
