"""What only a GPU does: its scores, short memory, recorded training steps, fp16."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from finsent_batch import hardware
from finsent_batch.config import StoreConfig
from finsent_batch.labels import LABELS
from finsent_batch.models.precision import causal_weights
from finsent_batch.models.registry import near_tie
from finsent_batch.scorers.encoder import scorer as encoder_scorer
from finsent_batch.scorers.near_tie import LARGEST, SMALLEST, measured_margin
from finsent_batch.store.store import Store
from finsent_batch.training import causal as causal_training
from finsent_batch.training import cuda_graphs as graphed_training
from finsent_batch.training import encoder_trainer as encoder_training
from finsent_batch.training import transfer_set

from ..helpers.causal_models import save_adapter
from ..helpers.qlora import arguments, save_split
from ..training.test_encoder_preset import config_of

if not torch.cuda.is_available():
    pytest.skip("no CUDA GPU here", allow_module_level=True)
P = [f"p_{label}" for label in LABELS]


def test_a_limit_on_memory_decides_the_weights():
    whole = hardware.gpu_memory()
    assert causal_weights("auto", "cuda", quantized=True, size=whole // 4) == "bf16"
    torch.cuda.set_per_process_memory_fraction(0.25)
    try:
        assert hardware.gpu_memory() == pytest.approx(whole / 4, rel=0.01)
        assert causal_weights("auto", "cuda", quantized=True, size=whole // 4) == "nf4"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def scores(run, tmp_path, store, *arguments):
    done = run(
        "--store", store, "score", "feed.parquet", "--overwrite", *arguments, "--summary", "json"
    )
    assert done.code == 0, done.err
    return pl.read_parquet(tmp_path / "feed.scored.parquet"), done


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
@pytest.mark.parametrize(
    ("weights", "reference_weights", "near"),
    [("fp32", "fp32", 1e-3), ("bf16", "fp32", 0.1), ("nf4", "nf4", 0.1), ("fp8", "fp32", 0.2)],
)
def test_a_gpu_gives_a_cpu_s_scores(
    run, wordy, tmp_path, causal_base, architecture, weights, reference_weights, near
):
    if weights == "fp8" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no fp8 products")
    pl.DataFrame({"headline": wordy(200)}).write_parquet(tmp_path / "feed.parquet")
    quantisation = "nf4" if weights == "nf4" else None
    model = save_adapter(tmp_path / "m", causal_base(architecture), quantisation=quantisation)
    given = ("--model", model, "--device")
    here, done = scores(run, tmp_path, "g.duckdb", *given, "cuda", "--weights", weights)
    assert done.json["device"] == "cuda"
    assert done.json["path"].startswith("packed")
    there, _ = scores(run, tmp_path, "c.duckdb", *given, "cpu", "--weights", reference_weights)
    apart = np.abs(here.select(P).to_numpy() - there.select(P).to_numpy())
    assert apart.max() < near
    assert apart.mean() < near / 5


def test_short_memory_halves_batches_and_scores_all(run, wordy, tmp_path, causal_base):
    base = causal_base("llama", intermediate_size=16384, hidden_size=256)
    pl.DataFrame({"headline": wordy(6000)}).write_parquet(tmp_path / "feed.parquet")
    given = ("--model", base, "--device", "cuda", "--weights", "bf16", "--max-batch-tokens")
    plenty, _ = scores(run, tmp_path, "a.duckdb", *given, 65536)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    used = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((used + 700e6) / total)
    try:
        short, done = scores(run, tmp_path, "b.duckdb", *given, 65536)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory: continuing with batches of" in done.err
    assert done.json["rows"]["unique_scored"] == 6000
    apart = np.abs(short.select(P).to_numpy() - plenty.select(P).to_numpy())
    assert apart.max() < 0.1


@pytest.mark.parametrize(("weights", "near"), [("fp32", 1e-4), ("bf16", 0.03)])
def test_a_classifier_gives_a_cpu_s_scores(run, wordy, tmp_path, tiny_model, weights, near):
    pl.DataFrame({"headline": wordy(300)}).write_parquet(tmp_path / "feed.parquet")
    given = ("--model", tiny_model, "--weights")
    here, done = scores(run, tmp_path, "g.duckdb", *given, weights, "--device", "cuda")
    assert (done.json["device"], done.json["weights"]) == ("cuda", weights)
    there, _ = scores(run, tmp_path, "c.duckdb", *given, "fp32", "--device", "cpu")
    assert np.abs(here.select(P).to_numpy() - there.select(P).to_numpy()).mean() < near


def trained(run, tmp_path, causal_base, name, *more):
    if not (tmp_path / "split").exists():
        save_split(tmp_path / "split")
    given = arguments(tmp_path / "split", causal_base(), tmp_path / name, "--lora-dropout", 0)
    done = run(*given[1:], *map(str, more))
    assert done.code == 0, done.err
    return load_file(tmp_path / name / "adapter_model.safetensors"), done.err


@pytest.fixture
def replays(monkeypatch):
    """A list that grows by one with each recorded step that is replayed."""
    found = []
    replay = graphed_training.RecordedStep.replay

    def counted(*given):
        found.append(1)
        return replay(*given)

    monkeypatch.setattr(graphed_training.RecordedStep, "replay", counted)
    return found


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_recorded_steps_train_what_ordinary_ones_do(
    run, tmp_path, causal_base, monkeypatch, replays, quantisation
):
    recorded, said = trained(run, tmp_path, causal_base, "recorded", "--quantisation", quantisation)
    assert replays
    assert "not captured" not in said
    monkeypatch.setattr(causal_training, "graphable", lambda _: False)
    count = len(replays)
    ordinary, _ = trained(run, tmp_path, causal_base, "ordinary", "--quantisation", quantisation)
    assert len(replays) == count
    apart = sum((recorded[n] - w).norm() ** 2 for n, w in ordinary.items()) ** 0.5
    whole = sum(w.norm() ** 2 for w in ordinary.values()) ** 0.5
    assert apart < 0.2 * whole


@pytest.mark.parametrize("preset", ["mini", "encoder"])
def test_an_encoder_s_recorded_steps_train_what_ordinary_ones_do(
    run, tmp_path, tiny_model, monkeypatch, replays, preset
):
    save_split(tmp_path / "split")
    weights = {}
    for name in ("recorded", "ordinary"):
        before = len(replays)
        more = ("--lora-dropout", 0) if preset == "mini" else ("--learning-rate", 1e-3)
        done = run(
            "train", "--preset", preset, "--data", "split", "--base", tiny_model, "-o", name,
            "--base-dropout", 0, "--num-train-epochs", 4, "--per-device-train-batch-size", 8, *more,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "not captured" not in done.err
        assert (len(replays) > before) == (name == "recorded")
        file = "adapter_model" if preset == "mini" else "model"
        weights[name] = load_file(tmp_path / name / f"{file}.safetensors")
        for module in (encoder_training, transfer_set):
            monkeypatch.setattr(module, "records", lambda: False)
    ordinary, recorded = weights["ordinary"], weights["recorded"]
    apart = sum((recorded[n].float() - w.float()).norm() ** 2 for n, w in ordinary.items()) ** 0.5
    whole = sum(w.float().norm() ** 2 for w in ordinary.values()) ** 0.5
    assert apart < 0.05 * whole


@pytest.mark.parametrize("family", ["Roberta", "MPNet", "DebertaV2", "ModernBert"])
def test_every_family_of_encoders_trains(run, tmp_path, tiny_model, family):
    torch.manual_seed(0)
    AutoModel.from_config(config_of(family)).save_pretrained(tmp_path / family)
    for file in tiny_model.glob("token*"):
        shutil.copy(file, tmp_path / family)
    save_split(tmp_path / "split")
    done = run(
        "train", "--preset", "encoder", "--data", "split", "--base", family, "-o", "m",
        "--num-train-epochs", 4, "--per-device-train-batch-size", 8, "--learning-rate", 1e-3,
    )  # fmt: skip
    assert done.code == 0, done.err
    print(family, [line for line in done.err.splitlines() if "captured" in line])
    if family in ("Roberta", "MPNet"):
        assert "not captured" not in done.err


def test_what_cannot_be_recorded_trains_all_the_same(run, tmp_path, causal_base, monkeypatch):
    """The forward pass asks for a number, which no recording can hold."""
    forward = graphed_training.RecordedStep.run

    def asking(self, model):
        loss = forward(self, model)
        loss.item()
        return loss

    monkeypatch.setattr(graphed_training.RecordedStep, "run", asking)
    adapter, said = trained(run, tmp_path, causal_base, "asking", "--lora-dropout", "0.1")
    assert said.count("training steps are not captured") == 1
    assert all(weight.isfinite().all() for weight in adapter.values())


def test_a_gpu_without_bf16_trains_in_fp16(run, tmp_path, causal_base, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    adapter, said = trained(run, tmp_path, causal_base, "half", "--quantisation", "none")
    assert "not finite" not in said
    assert any(w.abs().max() > 0 for n, w in adapter.items() if "lora_B" in n)
    done = run("evaluate", "--model", "half", "--data", "split/train.parquet", "-o", "report")
    assert done.code == 0, done.err


def test_doctor_says_what_to_expect_of_a_gpu(run):
    done = run("doctor")
    assert torch.cuda.get_device_name().split()[-1] in done.out
    assert "headlines/s" in done.out


@pytest.mark.parametrize(("weights", "near"), [("fp32", 1e-4), ("bf16", 0.1)])
def test_a_gpu_gives_a_cpu_s_scores_of_an_encoder(run, wordy, tmp_path, weights, near):
    pl.DataFrame({"headline": wordy(3000)}).write_parquet(tmp_path / "feed.parquet")
    here, done = scores(run, tmp_path, "g.duckdb", "--device", "cuda", "--weights", weights)
    assert done.json["device"] == "cuda"
    assert done.json["path"].startswith("packed")
    there, _ = scores(run, tmp_path, "c.duckdb", "--device", "cpu", "--weights", "fp32")
    apart = np.abs(here.select(P).to_numpy() - there.select(P).to_numpy())
    assert apart.max() < near
    assert (here["sentiment"] == there["sentiment"]).mean() > 0.998


def test_bf16_s_margin_is_measured_once_and_keeps_the_labels(
    run, wordy, tmp_path, plain_model, monkeypatch
):
    measured = []

    def noted(fast, full):
        measured.append(measured_margin(fast, full))
        return measured[-1]

    monkeypatch.setattr(encoder_scorer, "measured_margin", noted)
    given = ("--model", plain_model, "--device", "cuda", "--weights")
    for count in (2999, 3000):
        pl.DataFrame({"headline": wordy(count)}).write_parquet(tmp_path / "feed.parquet")
        here, done = scores(run, tmp_path, "g.duckdb", *given, "bf16")
        assert done.json["path"] == "packed, near-ties again in fp32"
    [margin] = measured
    assert SMALLEST < margin <= LARGEST
    with Store.open(StoreConfig(path=tmp_path / "g.duckdb"), read_only=True) as store:
        assert near_tie(store, done.json["model_fingerprint"]) == margin
    there, _ = scores(run, tmp_path, "f.duckdb", *given, "fp32")
    assert (here["sentiment"] == there["sentiment"]).mean() > 0.998


def test_a_fused_optimizer_trains_as_the_paged_one_does(run, tmp_path, causal_base):
    given = ("--quantisation", "nf4", "--optim")
    paged, _ = trained(run, tmp_path, causal_base, "paged", *given, "paged_adamw_32bit")
    fused, _ = trained(run, tmp_path, causal_base, "fused", *given, "adamw_torch_fused")
    apart = sum((fused[n] - w).norm() ** 2 for n, w in paged.items()) ** 0.5
    assert apart < 0.05 * sum(w.norm() ** 2 for w in paged.values()) ** 0.5
