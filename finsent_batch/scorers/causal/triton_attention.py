"""Causal attention over a packed batch as one Triton kernel: rotation, own text and shared prefix.

Headlines are short, some forty tokens behind an instruction of some sixty that all share. Flash
attention takes a call for each text's own tokens, one for the prefix, and a pass that merges the
two; each reads queries and writes results through memory, which is what such short sequences cost.
How this works:

1. A program instance takes `QUERIES` neighbouring tokens of the batch and one head. It loads their
   queries, rotates them (Su et al. 2021) and keeps them.
2. It goes through the prefix's keys, which all of its tokens see, then through the batch's own keys
   from the start of its first token's text to its last token. A mask lets each token see its own
   text, up to itself. Own keys are rotated as they are loaded.
3. The softmax is computed as it goes (Milakov and Gimelshein 2018; Dao 2023), in fp32.

The price: a tile of keys that belongs to several texts is computed for all of its queries, of which
most are masked. Products are cheap beside memory here, up to texts of a few hundred tokens.
"""

import torch
import triton
import triton.language as tl

_LOG2_E = 1.4426950408889634
_TILE = {"QUERIES": 64, "KEYS": 32, "num_warps": 4, "num_stages": 2}
"""What was fastest on an H100 with Llama 2's heads."""


@triton.jit
def _rotated(first, second, cosine, sine, kind: tl.constexpr):
    """Turn the halves of heads against each other, and round as transformers does."""
    one = (first * cosine - second * sine).to(kind)
    return one, (second * cosine + first * sine).to(kind)


@triton.jit
def _halves(states, rows, there, row, offset, HALF: tl.constexpr, PADDED: tl.constexpr):
    columns = tl.arange(0, PADDED)[None, :]
    places = states + rows[:, None].to(tl.int64) * row + offset + columns
    wanted = there[:, None] & (columns < HALF)
    first = tl.load(places, mask=wanted, other=0.0).to(tl.float32)
    return first, tl.load(places + HALF, mask=wanted, other=0.0).to(tl.float32)


@triton.jit
def _turns(cosine, sine, rows, there, HALF: tl.constexpr, PADDED: tl.constexpr):
    columns = tl.arange(0, PADDED)[None, :]
    places = rows[:, None].to(tl.int64) * 2 * HALF + columns
    wanted = there[:, None] & (columns < HALF)
    c = tl.load(cosine + places, mask=wanted, other=0.0).to(tl.float32)
    return c, tl.load(sine + places, mask=wanted, other=0.0).to(tl.float32)


@triton.jit
def _seen(total, largest, weights, scores, values):
    """Take a tile's scores (queries, keys), base 2, and values (keys, size) into the softmax."""
    higher = tl.maximum(largest, tl.max(scores, axis=1))
    shrunk = tl.exp2(largest - higher)
    powers = tl.exp2(scores - higher[:, None])
    weights = weights * shrunk + tl.sum(powers, axis=1)
    total = total * shrunk[:, None] + tl.dot(powers.to(values.dtype), values)
    return total, higher, weights


@triton.jit
def _behind_prefix(
    first,
    second,
    prefix_key,
    prefix_value,
    prefix,
    scale,
    row,
    offset,
    HALF: tl.constexpr,
    PADDED: tl.constexpr,
    SIZE: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
):
    """Begin the softmax of rotated queries with the prefix's keys, which all of them see."""
    kind: tl.constexpr = first.dtype
    whole = tl.arange(0, SIZE)[None, :]
    largest = tl.full([QUERIES], float("-inf"), tl.float32)
    weights = tl.zeros([QUERIES], tl.float32)
    total = tl.zeros([QUERIES, SIZE], tl.float32)
    for tile in range(0, prefix, KEYS):
        keys = tile + tl.arange(0, KEYS)
        real = keys < prefix
        one, two = _halves(prefix_key, keys, real, row, offset, HALF, PADDED)
        scores = tl.dot(first, tl.trans(one.to(kind)))
        scores = tl.dot(second, tl.trans(two.to(kind)), scores) * scale
        scores = tl.where(real[None, :], scores, float("-inf"))
        places = prefix_value + keys[:, None] * row + offset + whole
        values = tl.load(places, mask=real[:, None] & (whole < 2 * HALF), other=0.0)
        total, largest, weights = _seen(total, largest, weights, scores, values)
    return total, largest, weights


@triton.jit
def _attend(
    qkv,
    cosine,
    sine,
    begins,
    prefix_key,
    prefix_value,
    out,
    tokens,
    prefix,
    scale,
    row,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    PADDED: tl.constexpr,
    SIZE: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
):
    start = tl.program_id(0) * QUERIES
    head = tl.program_id(1)
    shared = head // (HEADS // KEY_HEADS)
    kind: tl.constexpr = qkv.dtype.element_ty
    rows = start + tl.arange(0, QUERIES)
    there = rows < tokens
    whole = tl.arange(0, SIZE)[None, :]
    begin = tl.load(begins + rows, mask=there, other=0)
    first, second = _halves(qkv, rows, there, row, head * 2 * HALF, HALF, PADDED)
    c, s = _turns(cosine, sine, rows, there, HALF, PADDED)
    first, second = _rotated(first, second, c, s, kind)
    total, largest, weights = _behind_prefix(
        first, second, prefix_key, prefix_value, prefix, scale, KEY_HEADS * 2 * HALF,
        shared * 2 * HALF, HALF, PADDED, SIZE, QUERIES, KEYS,
    )  # fmt: skip
    for tile in range(tl.load(begins + start), tl.minimum(start + QUERIES, tokens), KEYS):
        keys = tile + tl.arange(0, KEYS)
        real = keys < tokens
        one, two = _halves(qkv, keys, real, row, (HEADS + shared) * 2 * HALF, HALF, PADDED)
        # Names of their own: the queries' would be carried through the loop, of another shape.
        key_c, key_s = _turns(cosine, sine, keys, real, HALF, PADDED)
        one, two = _rotated(one, two, key_c, key_s, kind)
        scores = tl.dot(first, tl.trans(one))
        scores = tl.dot(second, tl.trans(two), scores) * scale
        own = (keys[None, :] >= begin[:, None]) & (keys[None, :] <= rows[:, None])
        # Not minus infinity: a row that has seen no key yet would become no number.
        scores = tl.where(own, scores, -1.0e30)
        offset = (HEADS + KEY_HEADS + shared) * 2 * HALF
        places = qkv + keys[:, None].to(tl.int64) * row + offset + whole
        values = tl.load(places, mask=real[:, None] & (whole < 2 * HALF), other=0.0)
        total, largest, weights = _seen(total, largest, weights, scores, values)
    places = out + (rows[:, None].to(tl.int64) * HEADS + head) * 2 * HALF + whole
    result = (total / weights[:, None]).to(kind)
    tl.store(places, result, mask=there[:, None] & (whole < 2 * HALF))


def attend_packed(
    qkv: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    begins: torch.Tensor,
    prefix: tuple[torch.Tensor, torch.Tensor] | None,
    heads: tuple[int, int],
    scale: float,
) -> torch.Tensor:
    """Return the attention of a packed batch, (tokens, heads, head size), bf16 or fp16.

    `qkv` is (tokens, heads + 2 key heads, head size), not rotated yet; `rotary` cosine and sine,
    (tokens, head size) each, both halves alike; `begins`, (tokens,) int32, where each token's text
    begins. `prefix` holds the keys, rotated, and values of what all texts see first, (tokens, key
    heads, head size) each. `heads` counts query heads and key heads.
    """
    tokens, _, size = qkv.shape
    queries, keys = heads
    out = torch.empty(tokens, queries, size, dtype=qkv.dtype, device=qkv.device)
    before = (qkv, qkv) if prefix is None else prefix
    power = triton.next_power_of_2(size)
    _attend[(triton.cdiv(tokens, _TILE["QUERIES"]), queries)](
        qkv, *rotary, begins, *before, out,
        tokens, 0 if prefix is None else len(before[0]), scale * _LOG2_E, qkv.stride(0),
        HEADS=queries, KEY_HEADS=keys, HALF=size // 2, PADDED=max(16, power // 2),
        SIZE=max(16, power), **_TILE,
    )  # fmt: skip
    return out
