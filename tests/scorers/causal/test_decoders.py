"""Packed, padded and plain forward passes of every architecture give the same logits."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PhiConfig, PhiForCausalLM

from finsent_batch.models.directory import open_model
from finsent_batch.scorers.causal.choice import make_decoder
from finsent_batch.scorers.causal.decoders import (
    LabelHead,
    PackedDecoder,
    PaddedDecoder,
    packable,
)
from finsent_batch.scorers.causal.load import load_causal
from finsent_batch.scorers.causal.packed_attention import NAME, Packing
from finsent_batch.scorers.causal.prompt_tokens import load_prompt_tokens

from ...helpers.causal_models import SHAPES

PACKED = [name for name in SHAPES if name != "gpt_neox"]
HEADLINES = [
    "Nokia posts record profit",
    "Bank cuts jobs",
    '"Record" quarter, says oil bank',
    "'Profit' falls",
    "[Oil] falls on deal",
    "x",
    "(loss)",
    "$3.5 million gain for Nokia in the quarter",
    "é ü 利益 🚀",
    "Sales of the bank and the shares of oil beats forecast in a net operating loss on a deal",
]


def loaded(base, packed):
    spec = open_model(str(base))
    tokens = load_prompt_tokens(spec)
    model = load_causal(spec, device="cpu", weights="fp32")
    return make_decoder(model, tokens, packed=packed), tokens


def plain(base, rows, label_ids):
    """Return transformers' own logits, a prompt at a time."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.inference_mode():
        found = [model(torch.tensor([row])).logits[0, -1, list(label_ids)] for row in rows]
    return torch.stack(found).numpy()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("architecture", SHAPES)
def test_every_way_gives_the_logits_of_a_plain_forward(causal_base, architecture, tied):
    base = causal_base(architecture, tie_word_embeddings=tied)
    padded, tokens = loaded(base, False)
    rows = tokens.encode(HEADLINES).rows()
    want = plain(base, rows, tokens.label_ids)
    assert np.ptp(want) > 0.5, "the logits must differ for the comparison to say anything"
    np.testing.assert_allclose(padded.logits(rows, torch.float32), want, atol=1e-4)
    if architecture in PACKED:
        packed, _ = loaded(base, True)
        np.testing.assert_allclose(packed.logits(rows, torch.float32), want, atol=1e-4)


def test_packed_is_taken_where_the_architecture_allows_it(causal_base):
    for architecture in SHAPES:
        decoder, _ = loaded(causal_base(architecture), None)
        kind = PackedDecoder if architecture in PACKED else PaddedDecoder
        assert isinstance(decoder, kind)


def test_a_sliding_window_shorter_than_the_prompts_runs_padded(causal_base):
    base = causal_base("mistral", sliding_window=16)
    decoder, tokens = loaded(base, None)
    assert decoder.name == "padded"
    rows = tokens.encode(HEADLINES).rows()
    want = plain(base, rows, tokens.label_ids)
    np.testing.assert_allclose(decoder.logits(rows, torch.float32), want, atol=1e-4)
    wide = AutoModelForCausalLM.from_pretrained(causal_base("mistral", sliding_window=512)).config
    assert packable(wide, 512)
    assert not packable(wide, 513)


def test_heads_that_the_kernels_do_not_take_run_padded():
    usual = LlamaConfig(hidden_size=3200, num_attention_heads=25)
    assert packable(usual, 512)
    assert not packable(LlamaConfig(hidden_size=3200, num_attention_heads=32), 512)


def test_the_prefix_is_shared_and_headlines_that_merge_with_its_end_go_without(causal_base):
    """The bracket is one token with some first letters, such as a quote."""
    decoder, tokens = loaded(causal_base("llama"), True)
    rows = tokens.encode(HEADLINES).rows()
    assert len(tokens.prefix) > 40
    assert len({tuple(row[: len(tokens.prefix) + 1]) for row in rows}) > 2
    assert [decoder.size(row) for row in rows] == [len(row) - len(tokens.prefix) for row in rows]
    # A row that does not begin so is read whole, in the same batch.
    odd = [rows[0][:1] + rows[0][3:], rows[1]]
    assert decoder.size(odd[0]) == len(odd[0])
    want = plain(causal_base("llama"), odd, tokens.label_ids)
    np.testing.assert_allclose(decoder.logits(odd, torch.float32), want, atol=1e-4)


@pytest.mark.parametrize("architecture", PACKED)
def test_the_trimmed_last_layer_changes_nothing(causal_base, architecture):
    """Against the same packed batch through transformers' own layers to the end."""
    decoder, tokens = loaded(causal_base(architecture), True)
    rows = tokens.encode(HEADLINES).rows()
    got = decoder.logits(rows, torch.float32)
    spec = open_model(str(causal_base(architecture)))
    plain = load_causal(spec, device="cpu", weights="fp32")
    plain.set_attn_implementation(NAME)
    body, size = plain.base_model, len(tokens.prefix)
    packing = Packing(
        lengths=[len(row) - size for row in rows],
        device=torch.device("cpu"),
        prefix=decoder._prefix(torch.float32),
    )
    ids = torch.tensor([t for row in rows for t in row[size:]])[None]
    with torch.inference_mode():
        states = body(
            ids, position_ids=packing.positions, packing=packing, use_cache=False
        ).last_hidden_state
        want = decoder._head(states[0, packing.last])
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt_neox"])
def test_batches_and_order_change_nothing(causal_base, architecture):
    decoder, tokens = loaded(causal_base(architecture), None)
    rows = tokens.encode(HEADLINES).rows()
    whole = decoder.logits(rows, torch.float32)
    single = torch.cat([decoder.logits([row], torch.float32) for row in rows])
    turned = decoder.logits(rows[::-1], torch.float32).flip(0)
    np.testing.assert_allclose(single, whole, atol=1e-5)
    np.testing.assert_allclose(turned, whole, atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_a_bf16_model_answers_in_fp32_too_and_is_bf16_again_after(causal_base, architecture):
    """Headlines without finite logits are scored again in fp32."""
    base = causal_base(architecture, dtype="bfloat16")
    spec = open_model(str(base))
    tokens = load_prompt_tokens(spec)
    rows = tokens.encode(HEADLINES).rows()
    decoder = make_decoder(load_causal(spec, device="cpu", weights="bf16"), tokens)
    low = decoder.logits(rows, torch.bfloat16)
    want = plain(base, rows, tokens.label_ids)
    np.testing.assert_allclose(decoder.logits(rows, torch.float32), want, atol=1e-4)
    assert torch.equal(decoder.logits(rows, torch.bfloat16), low)
    assert not np.allclose(low, want, atol=1e-4)


def test_the_heads_bias_counts():
    """Phi has one."""
    torch.manual_seed(0)
    model = PhiForCausalLM(PhiConfig(vocab_size=50, hidden_size=32, intermediate_size=32,
                                     num_hidden_layers=1, num_attention_heads=2))  # fmt: skip
    torch.nn.init.normal_(model.lm_head.bias)
    states = torch.randn(4, 32)
    want = model.lm_head(states)[:, [7, 3, 9]]
    assert torch.allclose(LabelHead(model, [7, 3, 9])(states), want, atol=1e-6)
