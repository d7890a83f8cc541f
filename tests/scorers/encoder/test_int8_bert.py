"""The int8 form of BERT against the fp32 model it is made from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from finsent_batch.scorers.encoder.int8_bert import Int8Bert, Int8Linear, _Buffers

from ...helpers.fuzzing import examples

pytestmark = pytest.mark.filterwarnings("ignore")


def reference(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """The same quantisation in float64, without any kernel."""
    weight = layer.weight.detach().double()
    scale = weight.abs().amax(1, keepdim=True) / 127
    rows = x.double().abs().amax(1, keepdim=True) / 127
    product = (x.double() / rows).round() @ (weight / scale).round().t()
    return product * rows * scale.t() + layer.bias.detach().double()


@settings(max_examples=examples(30), deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 6).map(lambda n: 16 * n), st.floats(1e-3, 1e3), st.integers()
)
def test_product_is_the_reference_up_to_rounding(
    rows: int, width: int, size: float, seed: int
) -> None:
    torch.manual_seed(seed % 2**31)
    layer = torch.nn.Linear(width, 48)
    x = torch.randn(rows, width) * size
    got = Int8Linear("test", [layer], _Buffers())(x)
    want = reference(layer, x)
    # A value half way between two integers may round either way: one step of one input.
    step = float(x.abs().max() / 127 * layer.weight.abs().max())
    assert float((got.double() - want).abs().max()) <= 2 * step + 1e-5 * size


def test_zero_input_gives_the_bias() -> None:
    layer = torch.nn.Linear(32, 16)
    got = Int8Linear("test", [layer], _Buffers())(torch.zeros(3, 32))
    assert got.numpy() == pytest.approx(layer.bias.detach().expand(3, -1).numpy(), abs=1e-6)


def test_layers_on_one_input_are_joined_in_order() -> None:
    layers = [torch.nn.Linear(32, 16) for _ in range(3)]
    x = torch.randn(5, 32)
    joined = Int8Linear("joined", layers, _Buffers())(x).clone()
    for i, layer in enumerate(layers):
        alone = Int8Linear("alone", [layer], _Buffers())(x)
        assert torch.equal(joined[:, 16 * i : 16 * (i + 1)], alone)


def test_logits_are_near_the_fp32_models(tiny_model: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model).eval()
    torch.manual_seed(1)
    ids = torch.randint(4, model.config.vocab_size, (16, 12))
    mask = torch.ones_like(ids)
    mask[3, 7:] = 0
    with torch.inference_mode():
        want = model(input_ids=ids, attention_mask=mask).logits
    got = Int8Bert(model)(ids, mask)
    # Random weights, 32 wide: coarser than any trained model. That one is measured in test_mini.
    assert np.corrcoef(got.flatten(), want.flatten())[0, 1] > 0.95


def test_padding_and_neighbours_do_not_change_an_answer(tiny_model: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model).eval()
    scorer = Int8Bert(model)
    ids = torch.randint(4, model.config.vocab_size, (4, 10))
    alone = scorer(ids[:1], torch.ones(1, 10, dtype=torch.int64)).clone()
    padded = torch.zeros(4, 14, dtype=torch.int64)
    padded[:, :10] = ids
    mask = torch.zeros_like(padded)
    mask[:, :10] = 1
    together = scorer(padded, mask)
    assert together[0].numpy() == pytest.approx(alone[0].numpy(), abs=1e-4)
