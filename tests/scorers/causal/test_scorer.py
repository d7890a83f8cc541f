"""The label-token scorer: batches, memory, numbers that are none."""

import logging

import numpy as np
import pytest
import torch

from finsent_batch.errors import ConfigError, UnavailableError
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.batching import lead
from finsent_batch.scorers.causal.linear import Fp8Linear, Nf4Linear
from finsent_batch.scorers.causal.load import load_causal_in
from finsent_batch.scorers.causal.scorer import LabelTokenScorer
from finsent_batch.scorers.near_tie import NEVER

from ...helpers.causal_models import save_adapter, write_card


def make(model, weights="fp32", **options):
    return LabelTokenScorer(open_model(str(model)), device="cpu", weights=weights, **options)


def probabilities(scorer, texts):
    found = np.full((len(texts), 3), np.nan, dtype=np.float32)
    answered = np.zeros(len(texts), dtype=int)
    for batch in scorer.score(texts):
        found[batch.positions] = batch.probabilities
        answered[batch.positions] += 1
    assert (answered == 1).all(), "every text is answered once"
    return found


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt_neox"])
@pytest.mark.parametrize("budget", [1, 50, 100_000])
def test_batch_size_and_order_do_not_change_answers(causal_base, wordy, architecture, budget):
    texts = wordy(24)
    want = probabilities(make(causal_base(architecture)), texts)
    other = make(causal_base(architecture), max_batch_tokens=budget)
    assert probabilities(other, texts[::-1])[::-1] == pytest.approx(want, abs=1e-5)
    assert want.sum(axis=1) == pytest.approx(np.ones(24), abs=1e-6)


def test_the_temperature_divides_the_logits(tmp_path, causal_base, wordy):
    texts, base = wordy(5), causal_base()
    folder = save_adapter(tmp_path / "adapter", base)
    logs = []
    for temperature in (1.0, 2.5):
        write_card(folder, base, temperature=temperature)
        logs.append(np.log(probabilities(make(folder), texts)))
    spreads = [np.ptp(log, axis=1) for log in logs]
    assert spreads[0] == pytest.approx(2.5 * spreads[1], rel=1e-3)


def test_long_text_is_truncated_and_said_so(causal_base):
    flags = {}
    for batch in make(causal_base()).score(["profit " * 2000, "profit"]):
        flags.update(zip(batch.positions.tolist(), batch.truncated.tolist(), strict=True))
        assert batch.tokens <= 512 * len(batch.positions)
    assert flags == {0: True, 1: False}


def test_counted_tokens_are_those_read(causal_base, wordy):
    texts = wordy(20)
    for scorer in (make(causal_base()), make(causal_base("gpt_neox"))):
        read = sum(batch.tokens for batch in scorer.score(texts))
        assert scorer.count_tokens(texts) == read
    assert read > 20 * 40, "the padded path reads the instruction for every headline"


def test_no_texts_give_no_batches(causal_base):
    assert list(make(causal_base()).score([])) == []


# ---- numbers that are none


class Overflowing:
    """A decoder that gives no finite number for some prompts: in low precision, or ever."""

    def __init__(self, decoder, low, ever, value):
        self.decoder, self.low, self.ever, self.value = decoder, low, ever, value
        self.name, self.size, self.alone = decoder.name, decoder.size, []

    def logits(self, rows, dtype):
        result = self.decoder.logits(rows, dtype)
        for i, row in enumerate(rows):
            if row in self.ever or (row in self.low and dtype != torch.float32):
                result[i, 1] = self.value
        if dtype == torch.float32:
            self.alone += rows
            assert len(rows) == 1
        return result


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_headline_without_finite_logits_is_asked_again_alone_in_fp32(causal_base, wordy, value):
    texts = wordy(30)
    scorer = make(causal_base("llama", dtype="bfloat16"), "bf16")
    want = probabilities(scorer, texts)
    rows = scorer.tokenize(texts).rows()
    scorer._decoder = Overflowing(scorer._decoder, [rows[4], rows[20]], [rows[7]], value)
    got = probabilities(scorer, texts)
    assert sorted(map(rows.index, scorer._decoder.alone)) == [4, 7, 20]
    assert np.isnan(got[7]).all()
    for i in (4, 20):
        assert got[i] == pytest.approx(want[i], abs=0.05)
    others = [i for i in range(30) if i not in (4, 7, 20)]
    assert np.array_equal(got[others], want[others])


def test_weights_that_overflow_in_half_precision_are_no_numbers_but_in_fp32(causal_base):
    """A real overflow: a weight beyond 65,504, fp16's largest number."""
    spec = open_model(str(causal_base()))
    scorer = LabelTokenScorer(spec, device="cpu", weights="fp32")
    texts = ["Nokia posts record profit", "Bank cuts jobs", "Oil falls"]
    body = scorer._decoder._body
    with torch.no_grad():
        body.layers[0].mlp.down_proj.weight *= 1e7
    want = probabilities(scorer, texts)
    assert np.isfinite(want).all()
    for parameter in body.parameters():
        parameter.data = parameter.data.half()  # as a GPU without bf16 has them
    scorer._dtype = torch.float16
    rows = scorer.tokenize(texts).rows()
    assert not scorer._decoder.logits(rows, torch.float16).isfinite().all()
    assert probabilities(scorer, texts) == pytest.approx(want, abs=1e-3)


# ---- memory


@pytest.fixture
def short_of_memory():
    """Let a scorer's decoder run out of memory above a number of tokens."""

    def limit(scorer, tokens):
        run, tried = scorer._decoder.logits, []

        def logits(rows, dtype):
            size = sum(map(scorer._decoder.size, rows))
            tried.append(size)
            if size > tokens:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return run(rows, dtype)

        scorer._decoder.logits = logits
        return tried

    return limit


def test_out_of_memory_halves_the_budget_and_goes_on(causal_base, wordy, short_of_memory, caplog):
    texts = wordy(200)
    want = probabilities(make(causal_base()), texts)
    scorer = make(causal_base(), max_batch_tokens=4096)
    tried = short_of_memory(scorer, 300)
    with caplog.at_level(logging.WARNING):
        got = probabilities(scorer, texts)
    assert got == pytest.approx(want, abs=1e-5)
    assert "out of memory: continuing with batches of" in caplog.text
    failed = [size for size in tried if size > 300]
    assert 1 <= len(failed) <= 5
    assert tried[: len(failed)] == failed, "later batches keep to the smaller budget"
    # So do later calls.
    before = len(tried)
    probabilities(scorer, texts)
    assert max(tried[before:]) <= 300


def test_a_headline_that_fits_into_no_memory_ends_the_run_in_one_line(
    causal_base, wordy, short_of_memory
):
    scorer = make(causal_base())
    short_of_memory(scorer, 3)
    with pytest.raises(UnavailableError, match=r"one headline of \d+ tokens does not fit .* nf4"):
        list(scorer.score(wordy(3)))


# ---- models that do not belong together


def test_an_adapter_of_another_vocabulary_is_refused(tmp_path, causal_base):
    base = causal_base()
    folder = save_adapter(tmp_path / "adapter", base)
    ids = open_model(str(folder)).manifest["label_token_ids"]
    write_card(folder, base, label_token_ids=[3, 4, 5])
    with pytest.raises(ConfigError) as caught:
        make(folder)
    assert "label tokens [3, 4, 5]" in str(caught.value)
    assert f"gives {ids}" in str(caught.value)
    assert str(base) in str(caught.value)


@pytest.mark.parametrize("quantisation", ["nf4", None])
def test_fp8_near_ties_are_decided_in_finer_weights(
    tmp_path, causal_base, wordy, bitsandbytes, quantisation
):
    base = causal_base()
    folder = save_adapter(tmp_path / "adapter", base)
    write_card(folder, base, temperature=20.0, quantisation=quantisation)
    texts = wordy(60)
    fp8 = make(folder, "fp8")
    got = probabilities(fp8, texts)
    again = make(folder, "fp8", near_tie=fp8.near_tie)
    assert probabilities(again, texts) == pytest.approx(got, abs=1e-6)
    alone = probabilities(make(folder, "fp8", near_ties=False), texts)
    finer = probabilities(make(folder, "fp8", near_tie=NEVER), texts)
    # On a CPU 4 bits alone are computed in fp32, near-ties in bf16.
    assert finer == pytest.approx(
        probabilities(make(folder, quantisation or "bf16"), texts), abs=3e-3
    )
    near = lead(alone) < fp8.near_tie
    assert 5 < near.sum() < 55, "the test needs some of both"
    assert got[near] == pytest.approx(finer[near], abs=1e-6)
    assert got[~near] == pytest.approx(alone[~near], abs=1e-6)
    assert np.abs(alone[near] - finer[near]).max() > 1e-3


def test_where_fp8_would_turn_too_many_labels_bf16_answers(causal_base, wordy):
    base, texts = causal_base(), wordy(20)
    scorer = make(base, "fp8", near_tie=NEVER)
    assert scorer.batching.endswith("bf16: fp8 would change too many labels")
    assert (probabilities(scorer, texts) == probabilities(make(base, "bf16"), texts)).all()


def test_two_kinds_of_weights_share_the_rest(tmp_path, causal_base, bitsandbytes):
    base = causal_base()
    folder = save_adapter(tmp_path / "adapter", base)
    write_card(folder, base, quantisation="nf4")
    spec = open_model(str(folder))
    fp8, nf4 = load_causal_in(spec, device="cpu", ways=["fp8", "nf4"], compute=torch.bfloat16)
    embeddings = fp8.get_input_embeddings().weight
    assert embeddings.data_ptr() == nf4.get_input_embeddings().weight.data_ptr()
    kinds = [type(model.base_model.layers[0].self_attn.q_proj) for model in (fp8, nf4)]
    assert kinds == [Fp8Linear, Nf4Linear]
