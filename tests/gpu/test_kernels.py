"""Flash attention and Triton kernels against what they stand for; only a GPU runs them."""

import math

import numpy as np
import pytest
import torch

from finsent_batch.hardware import flash_usable
from finsent_batch.scorers.causal.packed_attention import Packing, attend

from ..scorers.causal.test_packed_attention import reference

if not torch.cuda.is_available():
    pytest.skip("no CUDA GPU here", allow_module_level=True)
GPU = torch.device("cuda")


def states(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device=GPU)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("heads", [(4, 4), (8, 2), (5, 1)])
@pytest.mark.parametrize("prefix", [0, 1, 37])
@pytest.mark.parametrize("lengths", [list(range(1, 70)), [1], [300, 3, 1]])
def test_flash_attention_is_what_the_definition_gives(lengths, prefix, heads, dtype):
    torch.manual_seed(0)
    tokens, (queries, keys), size = sum(lengths), heads, 64
    query, key, value = (states(tokens, n, size).to(dtype) for n in (queries, keys, keys))
    before = tuple(states(prefix, keys, size).to(dtype) for _ in range(2))
    assert flash_usable(query)
    packing = Packing(lengths=lengths, device=GPU, prefix={0: before} if prefix else None)
    scale = 1 / math.sqrt(size)
    got = attend(packing, 0, query, key, value, scale).float().cpu().numpy()
    given = [part.double().cpu().numpy() for part in (query, key, value)]
    want = reference(lengths, [part.double().cpu().numpy() for part in before], *given, scale)
    np.testing.assert_allclose(got, want, atol=0.03 if dtype == torch.bfloat16 else 0.004)


@pytest.mark.parametrize(("heads", "turning", "size"), [(6, 4, 64), (40, 36, 128), (3, 3, 16)])
def test_rotation_is_transformers_own(heads, turning, size):
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    from finsent_batch.scorers.causal.triton_kernels import rotate_

    qkv = states(11, heads, size)
    angles = states(11, size // 2)
    cosine, sine = (torch.cat([f(angles)] * 2, dim=1) for f in (torch.cos, torch.sin))
    want = qkv.clone()
    rotated, _ = apply_rotary_pos_emb(
        qkv[:, :turning].transpose(0, 1)[None], qkv[:, :1].transpose(0, 1)[None],
        cosine[None], sine[None],
    )  # fmt: skip
    want[:, :turning] = rotated[0].transpose(0, 1)
    rotate_(qkv, cosine, sine, turning)
    torch.testing.assert_close(qkv, want, atol=1e-5, rtol=1e-5)


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
