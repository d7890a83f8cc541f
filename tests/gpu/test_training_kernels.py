"""Triton kernels of training against PyTorch's operations and their gradients; a GPU runs them."""

import pytest
import torch

from finsent_batch.scorers.causal.layers import rotated
from finsent_batch.scorers.causal.packed_rows import PackedRows
from finsent_batch.training.layers import decoder

if not torch.cuda.is_available():
    pytest.skip("no CUDA GPU here", allow_module_level=True)

GPU = torch.device("cuda")


def states(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device=GPU).bfloat16().float()  # rounding is not what is tested


def same(work, other, inputs):
    """Hold values and gradients of one way against another's, both in fp32."""
    found = []
    for way in (work, other):
        own = [part.clone().requires_grad_() for part in inputs]
        results = way(*own)
        torch.manual_seed(1)
        total = sum((part * torch.randn_like(part)).sum() for part in results)
        found.append([*results, *torch.autograd.grad(total, own)])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("width", [64, 100, 4096])
@pytest.mark.parametrize("adds", [True, False])
def test_norms_of_sums_are_pytorch_s_own(width, adds):
    torch.manual_seed(0)
    weight = states(width)

    def fused(hidden, added=None):
        return decoder._NormedSum.apply(hidden, added, weight, 1e-5, torch.float32)

    def plain(hidden, added=None):
        total = hidden if added is None else hidden + added
        return total, torch.nn.functional.rms_norm(total, (width,), weight, 1e-5)

    same(fused, plain, [states(1, 7, width) for _ in range(1 + adds)])


def test_a_norm_whose_sum_goes_nowhere_has_its_gradient():
    hidden = states(1, 3, 64)

    def fused(hidden):
        return [
            decoder._NormedSum.apply(hidden, None, torch.ones(64, device=GPU), 1e-5, torch.float32)[
                1
            ]
        ]

    same(fused, lambda hidden: [torch.nn.functional.rms_norm(hidden, (64,), eps=1e-5)], [hidden])


@pytest.mark.parametrize("tokens", [1, 33])
def test_gated_activations_are_pytorch_s_own(tokens):
    torch.manual_seed(0)
    gate_and_up = [4 * states(1, tokens, 1000) for _ in range(2)]
    same(
        lambda gate, up: [decoder._Swiglu.apply(gate, up)],
        lambda gate, up: [torch.nn.functional.silu(gate) * up],
        gate_and_up,
    )


@pytest.mark.parametrize(
    ("heads", "size"), [((4, 4), 64), ((8, 2), 128), ((5, 1), 16), ((32, 32), 128)]
)
@pytest.mark.parametrize("prefix", [0, 1, 37])
@pytest.mark.parametrize("lengths", [[5, 9, 0], [1], [30, 3, 1, 64]])
def test_rotation_into_rows_is_what_pytorch_gives(lengths, prefix, heads, size):
    torch.manual_seed(0)
    tokens, (queries, keys) = prefix + sum(lengths), heads
    packing = PackedRows.of(lengths, prefix=prefix, columns=max(lengths) + 3, device=GPU)
    turns = states(tokens, size), states(tokens, size)
    # Padding takes no part: no gradient comes back to it.
    real = torch.zeros(packing.rows.numel(), 1, 1, device=GPU)
    real[packing.places] = 1
    for row in range(len(lengths)):
        real[row * packing.rows.shape[1] : row * packing.rows.shape[1] + prefix] = 1

    def rows(part):
        return (part.flatten(0, 1) * real).view(*packing.rows.shape, *part.shape[-2:])

    def fused(*parts):
        return [rows(part) for part in decoder._RotatedRows.apply(*parts, *turns, packing)]

    def plain(query, key, value):
        query, key = rotated(query, key, *turns)
        return [rows(part[packing.rows]) for part in (query, key, value)]

    same(fused, plain, [states(tokens, n, size) for n in (queries, keys, keys)])
