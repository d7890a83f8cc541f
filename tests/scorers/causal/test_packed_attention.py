"""Packed attention against a reference of its own in double precision."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finsent_batch.hardware import kernels_usable
from finsent_batch.scorers.causal.packed_attention import Packing, attend
from finsent_batch.scorers.causal.packed_rows import PackedRows, attend_in_rows

from ...helpers.fuzzing import examples

SIZE = 8


def reference(lengths, prefix, query, key, value, scale):
    """Attend a text at a time, a query at a time, as the definition says."""
    query, key, value = (part.astype(np.float64) for part in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    result = np.empty_like(query)
    start = 0
    for length in lengths:
        own = slice(start, start + length)
        keys = np.concatenate([prefix[0].astype(np.float64), key[own]])
        values = np.concatenate([prefix[1].astype(np.float64), value[own]])
        for i in range(length):
            seen = len(prefix[0]) + i + 1
            for head in range(query.shape[1]):
                shared = head // groups
                scores = keys[:seen, shared] @ query[start + i, head] * scale
                weights = np.exp(scores - scores.max())
                result[start + i, head] = weights @ values[:seen, shared] / weights.sum()
        start += length
    return result


def states(draw, tokens, heads):
    return draw.standard_normal((tokens, heads, SIZE)).astype(np.float32) * 2


def packed(lengths, before, query, key, value, scale, kept=None):
    prefix = {3: tuple(torch.from_numpy(p) for p in before)} if len(before[0]) else None
    packing = Packing(lengths=lengths, device=torch.device("cpu"), prefix=prefix, kept=kept)
    given_states = (torch.from_numpy(part) for part in (query, key, value))
    return attend(packing, 3, *given_states, scale).numpy()


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=7),
    prefix=st.sampled_from([0, 1, 5]),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]),
    seed=st.integers(0, 2**32 - 1),
)
@example(lengths=list(range(1, 25)), prefix=0, heads=(4, 2), seed=0)
@example(lengths=list(range(24, 0, -1)), prefix=7, heads=(4, 2), seed=1)
@example(lengths=[1], prefix=3, heads=(2, 2), seed=2)
@settings(max_examples=examples(60))
def test_packed_attention_is_what_the_definition_gives(lengths, prefix, heads, seed):
    draw = np.random.default_rng(seed)
    tokens, (queries, keys) = sum(lengths), heads
    before = (states(draw, prefix, keys), states(draw, prefix, keys))
    own = (states(draw, tokens, queries), states(draw, tokens, keys), states(draw, tokens, keys))
    scale = 1 / math.sqrt(SIZE)
    got = packed(lengths, before, *own, scale)
    assert got.shape == (tokens, queries, SIZE)
    np.testing.assert_allclose(got, reference(lengths, before, *own, scale), atol=2e-5)


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), prefix=st.integers(0, 9))
def test_packing_says_where_each_token_is(lengths, prefix):
    shared = {0: (torch.zeros(prefix, 1, SIZE),) * 2} if prefix else None
    packing = Packing(lengths=lengths, device=torch.device("cpu"), prefix=shared)
    starts = np.cumsum([0, *lengths])
    assert packing.starts.tolist() == starts.tolist()
    assert packing.last.tolist() == [s - 1 for s in starts[1:]]
    assert packing.positions[0].tolist() == [prefix + i for n in lengths for i in range(n)]


behind_a_prefix = given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    prefix=st.integers(0, 6),
    wider=st.integers(0, 3),
    heads=st.sampled_from([(2, 2), (4, 2)]),
    seed=st.integers(0, 2**32 - 1),
)


def packed_rows(lengths, prefix, wider):
    """Rows of these texts, wider than the longest."""
    columns = max(lengths) + wider
    return PackedRows.of(lengths, prefix=prefix, columns=columns, device=torch.device("cpu"))


@behind_a_prefix
@settings(max_examples=examples(30))
def test_a_prefix_computed_with_the_batch_is_the_same_prefix(lengths, prefix, wider, heads, seed):
    """As training runs it: the prefix's tokens first, then the texts that see them."""
    draw = np.random.default_rng(seed)
    tokens, (queries, keys) = prefix + sum(lengths), heads
    query, key, value = (states(draw, tokens, n) for n in (queries, keys, keys))
    own = [torch.from_numpy(part) for part in (query, key, value)]
    got = attend_in_rows(packed_rows(lengths, prefix, wider), *own, 0.4)
    none = (states(draw, 0, keys), states(draw, 0, keys))
    first = [part[:prefix] for part in (query, key, value)]
    rest = [part[prefix:] for part in (query, key, value)]
    texts = [length for length in lengths if length]
    want = reference(texts, (first[1], first[2]), *rest, 0.4)
    if prefix:
        want = np.concatenate([reference([prefix], none, *first, 0.4), want])
    np.testing.assert_allclose(got, want, atol=2e-5)


@behind_a_prefix
@settings(max_examples=examples(30))
def test_gradients_in_rows_are_those_of_one_masked_product(lengths, prefix, wider, heads, seed):
    draw = np.random.default_rng(seed)
    tokens, (queries, keys) = prefix + sum(lengths), heads
    own = [
        torch.from_numpy(states(draw, tokens, n)).double().requires_grad_()
        for n in (queries, keys, keys)
    ]
    packing = packed_rows(lengths, prefix, wider)
    text = np.repeat(np.arange(len(lengths) + 1), [prefix, *lengths])
    seen = torch.from_numpy((text[:, None] == text) | (text == 0)).tril()
    query, key, value = (part.transpose(0, 1) for part in own)
    want = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=seen, scale=0.4, enable_gqa=True
    ).transpose(0, 1)
    got = attend_in_rows(packing, *own, 0.4)
    weights = torch.from_numpy(states(draw, tokens, queries)).double()
    pairs = zip(
        torch.autograd.grad((got * weights).sum(), own),
        torch.autograd.grad((want * weights).sum(), own),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_text_does_not_see_its_neighbours():
    draw = np.random.default_rng(0)
    none = (states(draw, 0, 2), states(draw, 0, 2))
    own = [states(draw, 9, 4), states(draw, 9, 2), states(draw, 9, 2)]
    before = packed([4, 5], none, *own, 0.3)
    changed = [part.copy() for part in own]
    for part in changed:
        part[:4] += 1
    after = packed([4, 5], none, *changed, 0.3)
    assert np.array_equal(after[4:], before[4:])
    assert not np.array_equal(after[:4], before[:4])


def test_keys_and_values_are_kept_where_asked():
    draw = np.random.default_rng(0)
    none = (states(draw, 0, 2), states(draw, 0, 2))
    query, key, value = states(draw, 6, 4), states(draw, 6, 2), states(draw, 6, 2)
    kept = {}
    packed([6], none, query, key, value, 0.3, kept=kept)
    assert np.array_equal(kept[3][0].numpy(), key)
    assert np.array_equal(kept[3][1].numpy(), value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cpu_has_no_flash_attention(dtype):
    assert not kernels_usable(torch.zeros(1, 1, SIZE, dtype=dtype))
