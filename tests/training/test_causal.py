"""QLoRA training of a tiny causal base: through the command line, killed, resumed, merged."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file

from ..conftest import Result
from ..helpers.qlora import arguments, save_split, weights


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return save_split(tmp_path / "split")


@pytest.mark.parametrize("quantized", [True, False])
def test_an_adapter_is_trained_scored_evaluated_and_merged(
    quantized: bool,
    run: Callable[..., Result],
    split: Path,
    causal_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    base = causal_base()
    # Named from here, but found from anywhere.
    given = arguments(split, Path(os.path.relpath(base, tmp_path)), tmp_path / "adapter")
    if not quantized:
        given += ["--quantisation", "none"]
    done = run(*given)
    assert done.code == 0, done.err
    card = json.loads((tmp_path / "adapter" / "finsent.json").read_text())
    assert card["family"] == "label_tokens"
    assert card["base"]["id"] == str(base.resolve())
    assert card["quantisation"] == ("nf4" if quantized else None)
    assert card["training"]["hyperparameters"]["lora_r"] == 4
    assert card["temperature"] > 0
    assert {"valid/split", "test/split"} <= set(card["metrics"])
    assert (tmp_path / "adapter" / "training_log.json").exists()
    assert "Sentiment of financial headlines" in (tmp_path / "adapter" / "README.md").read_text()

    done = run("evaluate", "--model", "adapter", "--against", "base",
               "--data", split / "test.parquet", "-o", "report")  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert found["accuracy"] == card["metrics"]["test/split"]["accuracy"]
    assert found["against"]["model"] == str(base.resolve())
    assert (tmp_path / "report" / "predictions.csv").exists()
    again = json.loads((tmp_path / "adapter" / "finsent.json").read_text())
    assert "evaluate/test.parquet" in again["metrics"]

    done = run("merge", "adapter", "-o", "merged")
    assert done.code == 0, done.err
    assert run("merge", "adapter", "-o", "merged").code == 73
    for file in ("adapter/adapter_model.safetensors", "merged/model.safetensors"):
        beside = (tmp_path / file).with_name("finsent.json")
        assert (tmp_path / file).stat().st_mode == beside.stat().st_mode, "others may read it"
    labels = []
    for model in ("adapter", "merged"):
        done = run("score", split / "train.parquet", "--model", model, "-o", f"{model}.parquet")
        assert done.code == 0, done.err
        labels.append(pl.read_parquet(tmp_path / f"{model}.parquet")["sentiment"])
    assert (labels[0] == labels[1]).mean() >= 0.9


@pytest.mark.parametrize("more", [("--label-smoothing-factor", "0.1"), ("--loss", "full-text")])
def test_losses_that_are_the_trainer_s_own_train(
    more: tuple[str, str],
    run: Callable[..., Result],
    split: Path,
    causal_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    given = arguments(split, causal_base(), tmp_path / "adapter", "--quantisation", "none", *more)
    done = run(*given)
    assert done.code == 0, done.err


def test_a_merged_checkpoint_loads_in_transformers_with_the_weights_the_adapter_saw(
    run: Callable[..., Result], split: Path, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from finsent_batch.models.directory import open_model
    from finsent_batch.scorers.causal.load import load_causal

    assert run(*arguments(split, causal_base(), tmp_path / "adapter")).code == 0
    assert run("merge", "adapter", "-o", "merged").code == 0
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.bfloat16)
    seen = load_causal(open_model(str(tmp_path / "adapter")), device="cpu", weights="bf16")
    name = "model.layers.0.self_attn.q_proj"
    assert torch.equal(merged.get_submodule(name).weight, seen.get_submodule(name).weight)
    original = AutoModelForCausalLM.from_pretrained(causal_base(), dtype=torch.bfloat16)
    assert not torch.equal(merged.get_submodule(name).weight, original.get_submodule(name).weight)


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(
    run: Callable[..., Result], split: Path, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        done = run(*arguments(split, causal_base(), tmp_path / name, "--seed", seed))
        assert done.code == 0, done.err
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_a_packed_batch_has_the_loss_and_gradients_of_a_padded_one(
    causal_base: Callable[..., Path], split: Path, tmp_path: Path
) -> None:
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from finsent_batch.models.directory import open_model
    from finsent_batch.scorers.causal.load import load_base
    from finsent_batch.scorers.causal.packed_attention import NAME
    from finsent_batch.scorers.causal.prompt_tokens import load_prompt_tokens
    from finsent_batch.training.causal_dataset import Answers, PackedCollator, training_set

    spec = open_model(str(causal_base()))
    tokens = load_prompt_tokens(spec)
    rows = pl.read_parquet(split / "train.parquet").head(6)
    answers = Answers(ids=tokens.answers)
    dataset, cut = training_set(tokens, answers, rows, loss="label")
    assert cut == 0
    entries = [dataset[i] for i in range(6)]
    model = load_base(spec.base, nf4=False, device="cpu", compute=torch.float32).train()

    def step(batch: dict[str, Any]) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])

    padded = step(DataCollatorForLanguageModeling(pad_token_id=0)(entries))
    model.set_attn_implementation(NAME)
    collator = PackedCollator(prefix=tuple(tokens.prefix), device=torch.device("cpu"))
    packed = step(collator(entries))
    assert packed[0] == pytest.approx(padded[0], rel=1e-5)
    assert torch.allclose(packed[1], padded[1], atol=1e-4 * padded[1].abs().max().item())
    fill = PackedCollator(prefix=tuple(tokens.prefix), device=torch.device("cpu"), recorded=True)
    batch = fill(entries)
    assert batch["input_ids"].shape[1] % 64 == 0
    filled = step(batch)
    assert filled[0] == pytest.approx(padded[0], rel=1e-5)
    assert torch.allclose(filled[1], padded[1], atol=1e-4 * padded[1].abs().max().item())
    recorded = _recorded(model, batch)
    assert recorded[0] == pytest.approx(filled[0], rel=1e-6)
    assert torch.allclose(recorded[1], filled[1], atol=1e-6 * filled[1].abs().max().item())


def test_activations_are_recomputed_where_they_are_to_be(
    causal_base: Callable[..., Path], split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finsent_batch.train_config import TrainConfig
    from finsent_batch.training.layers import decoder
    from finsent_batch.training.train import train

    steps: dict[bool, int] = {}
    mlp = decoder._mlp
    for recomputed in (True, False):
        calls = list[None]()
        monkeypatch.setattr(decoder, "_mlp", lambda *given, c=calls: c.append(None) or mlp(*given))
        config = TrainConfig.for_preset(
            "llama2-7b", base=str(causal_base()), data=(split,), output=tmp_path / str(recomputed),
            num_train_epochs=1.0, auto_batch=False, gradient_checkpointing=recomputed,
            quantisation=None, per_device_train_batch_size=8, gradient_accumulation_steps=1,
        )  # fmt: skip
        train(config)
        steps[recomputed] = len(calls)
    assert steps[True] > 1.5 * steps[False]


@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=70), prefix=st.integers(0, 90))
@example(lengths=[4096], prefix=0)
@example(lengths=[4000], prefix=0)
def test_recorded_batches_are_filled_up_to_few_shapes(lengths: list[int], prefix: int) -> None:
    import torch

    from finsent_batch.training.causal_dataset import PackedCollator

    begin = list(range(prefix))
    collator = PackedCollator(prefix=tuple(begin), device=torch.device("cpu"), recorded=True)
    batch = collator(
        [{"input_ids": begin + [7] * n, "labels": [7] * (prefix + n)} for n in lengths]
    )
    tokens, (size,) = prefix + sum(lengths), batch["input_ids"][0].shape
    assert size % 64 == 0
    assert tokens <= size < tokens + max(64, size / 8)
    assert (batch["labels"] != -100).sum() == sum(lengths)
    packing = batch["packing"]
    assert len(packing.places) == size
    assert packing.rows.flatten()[packing.places].tolist() == list(range(size))
    texts, columns = len(packing.rows) - len(lengths), packing.rows.shape[1] - prefix
    assert columns % 64 == 0
    assert columns >= max(lengths)
    # One more text of padding than it takes, at most: a shape's size alone says how many.
    assert (texts - 1) * columns < max(64, size / 8)


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    share=st.integers(1, 5),
    processes=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_processes_share_the_batches_of_one_process_evenly(
    lengths: list[int], share: int, processes: int, seed: int
) -> None:
    import torch

    from finsent_batch.training.causal_dataset import EvenShares

    batch = share * processes
    torch.manual_seed(seed)
    alone = list(EvenShares(lengths, batch, 1))
    torch.manual_seed(seed)
    shared = list(EvenShares(lengths, share, processes))
    assert len(EvenShares(lengths, share, processes)) == len(lengths)
    assert sorted(alone) == list(range(len(lengths)))
    for begin in range(0, len(lengths), batch):
        rows = shared[begin : begin + batch]
        assert sorted(rows) == sorted(alone[begin : begin + batch])
        if len(rows) == batch:
            dealt = [
                sum(lengths[row] for row in rows[i : i + share]) for i in range(0, batch, share)
            ]
            assert max(dealt) - min(dealt) <= max(lengths[row] for row in rows)


def _recorded(model: Any, batch: dict[str, Any]) -> tuple[float, Any]:
    """Loss and gradients of a step that a GPU records, computed here without one."""
    import torch

    from finsent_batch.training.packed_trainer import forward_and_backward

    items = (batch["labels"] != -100).sum().float()
    model.zero_grad()
    loss = forward_and_backward(model, batch["packing"], batch, items)
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])


def test_the_loss_counts_the_label_alone_or_the_whole_text(
    causal_base: Callable[..., Path],
) -> None:
    from finsent_batch.models.directory import open_model
    from finsent_batch.scorers.causal.prompt_tokens import load_prompt_tokens
    from finsent_batch.training.causal_dataset import IGNORED, Answers, training_set

    spec = open_model(str(causal_base()))
    tokens = load_prompt_tokens(spec)
    answers = Answers(ids=tokens.answers)
    assert tuple(ids[0] for ids in answers.ids) == tokens.label_ids
    rows = pl.DataFrame({"headline": ["oil rises", "x" * 5000], "label": ["positive", "neutral"]})
    by_label, cut = training_set(tokens, answers, rows, loss="label")
    assert cut == 1
    counted = [[t for t in labels if t != IGNORED] for labels in by_label["labels"]]
    assert counted == [answers.ids[2], answers.ids[1]]
    whole, _ = training_set(tokens, answers, rows, loss="full-text")
    assert whole["labels"][0] == whole["input_ids"][0]


def test_the_latest_epoch_within_a_standard_error_of_the_best_is_kept() -> None:
    from types import SimpleNamespace

    from finsent_batch.training.causal_trainer import KEPT_EPOCH, OneStandardErrorRule

    def kept(rows: int, accuracies: list[float]) -> list[float]:
        state = SimpleNamespace(log_history=[{"loss": 1.0}], epoch=0.0)
        marks = []
        for epoch, accuracy in enumerate(accuracies, start=1):
            state.epoch = float(epoch)
            state.log_history.append({"eval_mean_token_accuracy": accuracy})
            metrics: dict[str, float] = {}
            OneStandardErrorRule(rows).on_evaluate(None, state, None, metrics)
            marks.append(metrics[KEPT_EPOCH])
        return marks

    assert kept(100, [0.64, 0.71, 0.73, 0.67, 0.70]) == [1.0, 2.0, 3.0, 0.0, 5.0]
    assert kept(10_000, [0.64, 0.71, 0.73, 0.67, 0.70]) == [1.0, 2.0, 3.0, 0.0, 0.0]


def test_balanced_rows_have_equal_classes() -> None:
    from finsent_batch.training.causal_dataset import balanced

    labels = ["negative"] * 2 + ["neutral"] * 7 + ["positive"] * 3
    rows = pl.DataFrame({"headline": [str(i) for i in range(12)], "label": labels})
    counts = dict(balanced(rows, 0)["label"].value_counts().iter_rows())
    assert counts == {"negative": 7, "neutral": 7, "positive": 7}
    assert balanced(rows, 0).equals(balanced(rows, 0))


def test_micro_batches_keep_the_effective_batch_and_fit(
    causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    from finsent_batch.errors import UsageError
    from finsent_batch.train_config import TrainConfig
    from finsent_batch.training.micro_batch import activation_bytes, micro_batch, parse_size

    model = AutoModelForCausalLM.from_pretrained(causal_base())
    config = TrainConfig.for_preset("llama2-7b", data=(), output=tmp_path)
    assert (micro_batch(config, model, 100, None).size, config.gradient_accumulation_steps) == (
        8,
        8,
    )
    sizes = []
    for budget in (10**9, activation_bytes(model, 300, checkpointing=False), 0):
        batch = micro_batch(config, model, 100, budget)
        assert batch.size * batch.accumulation == 8
        sizes.append((batch.size, batch.checkpointing))
    assert sizes == [(8, False), (2, False), (1, True)]
    # A recorded step holds its activations twice, of 200 tokens filled up to 256; what rows share
    # they hold once.
    budget = activation_bytes(model, 2 * 256, checkpointing=False)
    assert micro_batch(config, model, 100, budget, recorded=True).size == 2
    assert micro_batch(config, model, 100, budget - 1, recorded=True).size == 1
    # Attention has nine rows of 60 + 128 places for the 380 tokens of eight, filled up to 384.
    budget = activation_bytes(model, 384, 9 * 188, checkpointing=False)
    assert budget > activation_bytes(model, 384, checkpointing=False)
    assert micro_batch(config, model, 100, 2 * budget, shared=60, recorded=True).size == 8
    assert micro_batch(config, model, 100, 2 * budget - 2, shared=60, recorded=True).size == 4
    assert parse_size("16GB") == 16 * 10**9
    with pytest.raises(UsageError, match="16GB"):
        parse_size("much")


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--resume",), 78, "no complete checkpoint"),
        (("--base", "nowhere/at-all"), 66, "hf download nowhere/at-all"),
        (("--base", "no such folder"), 66, "no such folder"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(
    more: tuple[str, ...],
    code: int,
    says: str,
    run: Callable[..., Result],
    split: Path,
    causal_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    done = run(*arguments(split, causal_base(), tmp_path / "m", *more))
    assert (done.code, says in done.err) == (code, True), done.err
    assert "Traceback" not in done.err


def test_a_folder_that_holds_a_model_is_kept(
    run: Callable[..., Result], split: Path, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "finsent.json").write_text("{}")
    assert run(*arguments(split, causal_base(), tmp_path / "m")).code == 73
    assert (tmp_path / "m" / "finsent.json").read_text() == "{}"


def test_only_causal_adapters_merge(run: Callable[..., Result]) -> None:
    done = run("merge", "mini", "-o", "merged")
    assert (done.code, "not an adapter of a causal model" in done.err) == (78, True)


def test_causal_settings_are_refused_for_an_encoder(
    run: Callable[..., Result], split: Path, tiny_model: Path
) -> None:
    done = run("train", "--data", split, "--base", tiny_model, "-o", "m", "--auto-batch")
    assert (done.code, "--auto-batch is for causal models" in done.err) == (2, True)


def test_the_adapter_differs_from_where_it_began(
    run: Callable[..., Result], split: Path, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    assert run(*arguments(split, causal_base(), tmp_path / "m")).code == 0
    tensors = load_file(tmp_path / "m" / "adapter_model.safetensors")
    assert all(t.abs().max() > 0 for name, t in tensors.items() if "lora_B" in name)
