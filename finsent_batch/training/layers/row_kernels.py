"""Triton kernels that put a packed batch into the rows it attends in, rotated, and back.

`scorers/causal/packed_rows.py` says what these rows are. On the way queries and keys are rotated by
their positions (rotary embedding, Su et al. 2021), halves of a head turned against each other; on
the way back the gradients are, and the instruction's are summed over all rows. PyTorch's operations
and autograd make some forty kernels of the two ways, which are one each here. A program instance
takes a few heads of one token, computes in fp32 and rounds what it stores once. The price:
everything must be contiguous, and a head's size twice a power of two.
"""

import math

import torch
import triton
import triton.language as tl

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries, keys and values: (tokens, heads, head size), or (texts, columns, heads, head size)."""


@triton.jit
def _block(query, key, value, row, head, queries, keys, HALF: tl.constexpr):
    """Return where a block of heads of a row begins: query heads first, then key, then value."""
    size = 2 * HALF
    if head < queries:
        begin = query + (row * queries + head) * size
    elif head < queries + keys:
        begin = key + (row * keys + head - queries) * size
    else:
        begin = value + (row * keys + head - queries - keys) * size
    return begin


@triton.jit
def _rotated_rows(
    query, key, value, cosine, sine, rows, query_rows, key_rows, value_rows,
    queries, keys, HALF: tl.constexpr, HEADS: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS
    token = tl.load(rows + place)
    half = tl.arange(0, HALF)[None, :]
    inside = tl.arange(0, HEADS)[:, None] * (2 * HALF) + half
    begin = _block(query, key, value, token, head, queries, keys, HALF)
    a = tl.load(begin + inside).to(tl.float32)
    b = tl.load(begin + inside + HALF).to(tl.float32)
    if head < queries + keys:
        angles = token * (2 * HALF) + half
        cos_a, cos_b = tl.load(cosine + angles), tl.load(cosine + angles + HALF)
        sin_a, sin_b = tl.load(sine + angles), tl.load(sine + angles + HALF)
        turned = a * cos_a.to(tl.float32) - b * sin_a.to(tl.float32)
        b = b * cos_b.to(tl.float32) + a * sin_b.to(tl.float32)
        a = turned
    begin = _block(query_rows, key_rows, value_rows, place, head, queries, keys, HALF)
    tl.store(begin + inside, a.to(query_rows.dtype.element_ty))
    tl.store(begin + inside + HALF, b.to(query_rows.dtype.element_ty))


def rotated_rows(
    states: Rows, cosine: torch.Tensor, sine: torch.Tensor, rows: torch.Tensor
) -> Rows:
    """Return a packed batch's states in rows, (texts, columns, heads, head size), rotated.

    `cosine` and `sine` are (tokens, head size), `rows` (texts, columns) int64, a token's index
    each.
    """
    query, key, value = states
    result = tuple(part.new_empty(*rows.shape, *part.shape[1:]) for part in states)
    queries, keys, size = query.shape[1], key.shape[1], query.shape[2]
    heads = _heads_together(queries, keys)
    _rotated_rows[(rows.numel(), (queries + 2 * keys) // heads)](
        query, key, value, cosine, sine, rows, *result, queries, keys,
        HALF=size // 2, HEADS=heads,
    )  # fmt: skip
    return result[0], result[1], result[2]


@triton.jit
def _rotated_rows_back(
    query_rows, key_rows, value_rows, cosine, sine, places, query, key, value,
    queries, keys, prefix, texts, columns, HALF: tl.constexpr, HEADS: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS
    half = tl.arange(0, HALF)[None, :]
    inside = tl.arange(0, HEADS)[:, None] * (2 * HALF) + half
    a = tl.zeros((HEADS, HALF), tl.float32)
    b = tl.zeros((HEADS, HALF), tl.float32)
    # A token of a text has one place; one of the prefix the same one in each row.
    place = tl.load(places + token)
    for _ in range(tl.where(token < prefix, texts, 1)):
        begin = _block(query_rows, key_rows, value_rows, place, head, queries, keys, HALF)
        a += tl.load(begin + inside).to(tl.float32)
        b += tl.load(begin + inside + HALF).to(tl.float32)
        place += columns
    if head < queries + keys:
        angles = token * (2 * HALF) + half
        cos_a, cos_b = tl.load(cosine + angles), tl.load(cosine + angles + HALF)
        sin_a, sin_b = tl.load(sine + angles), tl.load(sine + angles + HALF)
        turned = a * cos_a.to(tl.float32) + b * sin_b.to(tl.float32)
        b = b * cos_b.to(tl.float32) - a * sin_a.to(tl.float32)
        a = turned
    begin = _block(query, key, value, token, head, queries, keys, HALF)
    tl.store(begin + inside, a.to(query.dtype.element_ty))
    tl.store(begin + inside + HALF, b.to(query.dtype.element_ty))


def rotated_rows_back(
    given: Rows, cosine: torch.Tensor, sine: torch.Tensor, places: torch.Tensor, prefix: int
) -> Rows:
    """Return the gradients of a packed batch's states, where `given` are those of its rows.

    `places` are (tokens,) int64; the first `prefix` tokens stand at their place in every row.
    """
    texts, columns, queries, size = given[0].shape
    keys = given[1].shape[2]
    result = tuple(part.new_empty(len(places), *part.shape[2:]) for part in given)
    heads = _heads_together(queries, keys)
    _rotated_rows_back[(len(places), (queries + 2 * keys) // heads)](
        *given, cosine, sine, places, *result, queries, keys, prefix, texts, columns,
        HALF=size // 2, HEADS=heads,
    )  # fmt: skip
    return result[0], result[1], result[2]


def _heads_together(queries: int, keys: int) -> int:
    """Return how many heads a program instance takes: a power of two that divides both."""
    shared = math.gcd(queries, keys)
    return min(16, shared & -shared)
