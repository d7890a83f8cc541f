"""Triton kernels against what they stand for; only a GPU runs them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from finsent_batch.hardware import kernels_usable
from finsent_batch.scorers.causal.layers import rotated
from finsent_batch.scorers.causal.packed_attention import Packing

from ..scorers.causal.test_packed_attention import reference

if not torch.cuda.is_available():
    pytest.skip("no CUDA GPU here", allow_module_level=True)

from finsent_batch.scorers.causal.triton_attention import attend_packed

GPU = torch.device("cuda")


def states(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device=GPU)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("heads", "size"), [((4, 4), 64), ((8, 2), 128), ((5, 1), 16), ((2, 2), 8)]
)
@pytest.mark.parametrize("prefix", [0, 1, 37, 130])
@pytest.mark.parametrize("lengths", [list(range(1, 70)), [1], [300, 3, 1], [64, 64, 128]])
def test_attention_is_what_the_definition_gives(lengths, prefix, heads, size, dtype):
    torch.manual_seed(0)
    tokens, (queries, keys) = sum(lengths), heads
    qkv = states(tokens, queries + 2 * keys, size).to(dtype)
    before = tuple(states(prefix, keys, size).to(dtype) for _ in range(2))
    angles = states(tokens, size // 2)
    rotary = tuple(torch.cat([f(angles)] * 2, dim=1).to(dtype) for f in (torch.cos, torch.sin))
    assert kernels_usable(qkv)
    begins = Packing(lengths=lengths, device=GPU).begins
    scale = 1 / math.sqrt(size)
    given = before if prefix else None
    got = attend_packed(qkv, rotary, begins, given, heads, scale).float().cpu().numpy()
    query, key, value = torch.split(qkv, [queries, keys, keys], dim=1)
    turned = (part.to(dtype) for part in rotated(query.float(), key.float(), *rotary))
    parts = [part.double().cpu().numpy() for part in (*turned, value)]
    want = reference(lengths, [part.double().cpu().numpy() for part in before], *parts, scale)
    np.testing.assert_allclose(got, want, atol=0.03 if dtype == torch.bfloat16 else 0.004)


@pytest.mark.parametrize("width", [64, 11008, 2049])
def test_activations_are_pytorch_s_own(width):
    from finsent_batch.scorers.causal.triton_kernels import swiglu

    gate_up = states(7, 2 * width).bfloat16()
    gate, up = gate_up.float().chunk(2, dim=1)
    want = torch.nn.functional.silu(gate) * up
    torch.testing.assert_close(swiglu(gate_up).float(), want, atol=1e-2, rtol=1e-2)


@pytest.mark.skipif(torch.cuda.get_device_capability() < (8, 9), reason="no fp8 products")
def test_activations_in_fp8_have_a_scale_a_token():
    from finsent_batch.scorers.causal.triton_kernels import swiglu_fp8

    gate_up = states(9, 512).bfloat16() * torch.logspace(-3, 2, 9, device=GPU)[:, None].bfloat16()
    gate, up = gate_up.float().chunk(2, dim=1)
    want = torch.nn.functional.silu(gate) * up
    quantized, scales = swiglu_fp8(gate_up)
    assert quantized.dtype == torch.float8_e4m3fn
    largest = want.abs().amax(dim=1, keepdim=True)
    error = (quantized.float() * scales - want).abs()
    # Three bits of mantissa.
    assert (error <= want.abs() / 16 + largest / 448).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [64, 4096, 5120])
def test_sum_and_norm_are_transformers_own(width, dtype):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    from finsent_batch.scorers.causal.triton_kernels import add_norm

    hidden, added = states(2, 9, width).to(dtype)
    norm = LlamaRMSNorm(width, eps=1e-5).to(GPU, dtype)
    norm.weight.data.normal_(1)
    total, normed = add_norm(hidden, added, norm.weight, 1e-5)
    assert torch.equal(total, hidden + added)
    torch.testing.assert_close(normed, norm(total))


@pytest.mark.skipif(torch.cuda.get_device_capability() < (8, 9), reason="no fp8 products")
@pytest.mark.parametrize("width", [64, 4096, 5120])
def test_norms_in_fp8_are_quantized_as_pytorch_does(width):
    from finsent_batch.scorers.causal.linear import Fp8Linear
    from finsent_batch.scorers.causal.triton_kernels import add_norm, add_norm_fp8, quantize_fp8

    hidden, added = states(2, 9, width).bfloat16() * 3
    weight = states(width).bfloat16()
    total, normed = add_norm(hidden, added, weight, 1e-5)
    total_too, (quantized, scales) = add_norm_fp8(hidden, added, weight, 1e-5)
    assert torch.equal(total, total_too)
    step = normed.float().abs() / 16 + normed.float().abs().amax(dim=1, keepdim=True) / 448
    assert ((quantized.float() * scales - normed.float()).abs() <= step).all()
    given, wanted = quantize_fp8(hidden), Fp8Linear.prepare(hidden)
    torch.testing.assert_close(given[1], wanted[1])
    assert (given[0].float() != wanted[0].float()).float().mean() < 0.01
    hidden[3, 5] = math.nan
    for found, _ in (quantize_fp8(hidden), add_norm_fp8(hidden, added, weight, 1e-5)[1]):
        assert found.float().isnan().any(dim=1).nonzero().tolist() == [[3]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "width"), [(12, 32), (12, 64), (3, 8), (2, 26), (1, 128)])
@pytest.mark.parametrize("lengths", [[1], [32, 31, 1], list(range(64, 0, -1)), [128, 127, 2]])
def test_attention_within_short_texts_is_pytorch_s_own(lengths, heads, width, dtype):
    from finsent_batch.scorers.encoder.short_attention import attend_short, compiles

    torch.manual_seed(0)
    assert compiles(heads, width, dtype, GPU)
    qkv = states(sum(lengths), 3, heads, width).to(dtype)
    starts = torch.tensor([0, *lengths], device=GPU).cumsum(0).int()
    got = attend_short(qkv, starts, max(lengths))
    for text, (first, last) in enumerate(pairwise(starts.tolist())):
        query, key, value = qkv[first:last].float().permute(1, 2, 0, 3)
        want = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        torch.testing.assert_close(
            got[first:last].float(), want.transpose(0, 1), atol=0.03, rtol=0.03,
            msg=lambda text_said, text=text: f"text {text}: {text_said}",
        )  # fmt: skip


def test_without_a_compiler_flash_attention_takes_short_texts(monkeypatch):
    from finsent_batch.scorers.encoder import short_attention

    def no_compiler(*_, **__):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(short_attention, "attend_short", no_compiler)
    assert not short_attention.compiles(2, 32, torch.bfloat16, GPU)
