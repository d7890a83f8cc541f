"""`doctor`: what this machine can run, told from what there is and never made up."""

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from finsent_batch import doctor as diagnosis
from finsent_batch.config import StoreConfig
from finsent_batch.doctor import diagnose
from finsent_batch.scorers.capacity import LLAMA_2_7B, empty_model, weight_bytes


@pytest.fixture
def found(tmp_path):
    """Return the lines of doctor by what they are about."""

    def call(model=None):
        checks = diagnose(StoreConfig(path=tmp_path / "finsent.duckdb"), model and str(model))
        return {check.what: (check.state, check.found) for check in checks}

    return call


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_a_machine_without_gpu_says_so_plainly(run):
    done = run("doctor")
    assert done.code == 0, done.out
    said = " ".join(done.out.split())
    assert "none that torch can use; scoring runs on the CPU" in said
    assert "packed batches in plain PyTorch" in said
    assert "headlines/s" not in said
    assert "fp8" not in said


@pytest.mark.parametrize(("architecture", "path"), [("llama", "packed"), ("gpt_neox", "padded")])
def test_a_causal_model_is_described(found, causal_base, architecture, path):
    lines = found(causal_base(architecture))
    state, text = lines[f"model {causal_base(architecture)}"]
    assert state == "ok"
    assert text.startswith("label_tokens, base ")
    assert text.endswith(path)
    assert "nf4" in lines["its weights"][1]
    assert lines["its label words"][1] == (
        "'negative' → 'Ġnegative'; 'neutral' → 'Ġneutral'; 'positive' → 'Ġpositive'"
    )


def test_a_classifier_is_described(found, tiny_model):
    state, text = found(tiny_model)[f"model {tiny_model}"]
    assert (state, text.split(",")[0]) == ("ok", "sequence_classifier")


def test_a_model_that_cannot_run_is_named_with_the_reason(run, tmp_path):
    done = run("doctor", "--model", tmp_path / "none")
    assert done.code == 69
    assert "missing" in done.out


def test_rates_are_those_of_recorded_runs(found, tmp_path, tiny_model, wordy, run):
    feed = tmp_path / "feed.parquet"
    what = f"last run with {tiny_model}"
    arguments = ("score", feed, "--model", tiny_model, "--weights", "fp32", "--summary", "json")
    pl.DataFrame({"headline": wordy(300)[:20]}).write_parquet(feed)
    assert run(*arguments).code == 0
    assert what not in found(tiny_model), "twenty headlines tell no rate"
    pl.DataFrame({"headline": wordy(300)}).write_parquet(feed)
    rate = run(*arguments).json["headlines_per_second"]
    state, text = found(tiny_model)[what]
    assert state == "ok"
    assert text.startswith(f"{rate:,.0f} headlines/s on cpu (fp32); 280 scored on ")
    assert what not in found(), "rates are of the models asked about"


def test_weights_take_what_their_parameters_take(causal_base):
    model = AutoModelForCausalLM.from_pretrained(causal_base(), dtype=torch.float32)
    sizes = weight_bytes(empty_model(causal_base()))
    assert sizes["fp32"] == 2 * sizes["bf16"] == 4 * sum(p.numel() for p in model.parameters())
    assert sizes["nf4"] < sizes["fp8"] < sizes["bf16"]


def test_seven_billion_parameters_are_llama_2s():
    sizes = weight_bytes(empty_model(LLAMA_2_7B))
    assert sizes["fp32"] == 4 * 6_738_415_616
    assert 3.8e9 < sizes["nf4"] < 4.0e9


def test_a_gpu_too_small_for_some_weights_is_told(found, monkeypatch):
    """No GPU is needed to tell it; its numbers are given here."""
    monkeypatch.setattr(diagnosis, "cuda_available", lambda: True)
    monkeypatch.setattr(diagnosis, "gpu_capability", lambda: (8, 6))
    monkeypatch.setattr(diagnosis, "gpu_memory", lambda: 12 * 10**9)
    assert diagnosis._sizes(weight_bytes(empty_model(LLAMA_2_7B))).endswith(
        "too large for this GPU: bf16, fp32"
    )


def test_the_expected_speed_is_a_share_of_that_of_the_products():
    from finsent_batch.scorers.capacity import LLAMA_2_7B, empty_model, expected_rates

    rates = expected_rates(empty_model(LLAMA_2_7B), {"nf4": 666e12, "bf16": 660e12})
    assert 1190 < rates["nf4"] < 1260, "1,228 were measured at 660e12"
    assert rates["bf16"] > rates["nf4"]


def test_products_are_timed():
    from finsent_batch.scorers.capacity import product_speeds

    speeds = product_speeds("cpu", fp8=False, seconds=0.05, size=64)
    assert set(speeds) == {"nf4", "bf16"}
    assert 1e6 < speeds["bf16"] < 1e15
