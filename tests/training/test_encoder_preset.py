"""`train --preset encoder`: all weights of an encoder, for each family with random tiny weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from safetensors.torch import load_file

from ..conftest import Result

Run = Callable[..., Result]
SIZES = {
    "vocab_size": 160, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 80, "pad_token_id": 0,
}  # fmt: skip
FAST = ("--num-train-epochs", 4, "--learning-rate", 2e-3, "--per-device-train-batch-size", 8,
        "--threads", 1)  # fmt: skip
VERBS = {"positive": "rises", "negative": "falls", "neutral": "posts"}


def config_of(family: str) -> Any:
    import transformers

    if family == "DebertaV2":
        more: dict[str, Any] = {
            "relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False,
        }  # fmt: skip
    elif family == "ModernBert":
        more = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    else:
        more = {}
    return getattr(transformers, f"{family}Config")(**SIZES, **more)


@pytest.fixture
def base(tiny_model: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Make an encoder of a family without any head, with the tiny model's tokenizer."""

    def make(family: str) -> Path:
        import torch
        from transformers import AutoModel

        folder = tmp_path / family
        torch.manual_seed(0)
        AutoModel.from_config(config_of(family)).save_pretrained(folder)
        for file in tiny_model.glob("token*"):
            shutil.copy(file, folder / file.name)
        return folder

    return make


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Sentences whose label their verb tells."""
    folder = tmp_path / "split"
    folder.mkdir()
    for name, numbers in (("train", range(72)), ("valid", range(72, 90)), ("test", range(90, 120))):
        rows = [
            (f"nokia {VERBS[list(VERBS)[i % 3]]} sales oil {i}", list(VERBS)[i % 3])
            for i in numbers
        ]
        pl.DataFrame(rows, schema=["headline", "label"], orient="row").write_parquet(
            folder / f"{name}.parquet"
        )
    return folder


def train(run: Run, base: Path, *more: object) -> Result:
    options = ("--data", "split", "--base", base, "-o", "model", *FAST)
    return run("-q", "train", "--preset", "encoder", *options, *more)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("family", ["Bert", "Roberta", "MPNet", "DebertaV2", "ModernBert"])
def test_every_family_trains_and_all_that_is_new_is_saved(
    run: Run,
    split: Path,
    base: Callable[[str], Path],
    tmp_path: Path,
    family: str,
    pooling: str,
) -> None:
    done = train(run, base(family), "--pooling", pooling)
    assert done.code == 0, done.err
    shutil.rmtree(tmp_path / family)  # the result needs nothing but itself
    card = json.loads((tmp_path / "model" / "finsent.json").read_text())
    assert "lora_r" not in card["training"]["hyperparameters"]
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    data = ("--data", split / "test.parquet", "-o", "report", "--weights", "fp32")
    done = run("evaluate", "--model", "model", *data)
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    stored = card["metrics"]["test/split"]
    assert metrics["accuracy"] == stored["accuracy"] > 0.9
    assert metrics["ece"] == pytest.approx(stored["ece"], abs=1e-3)
    pl.DataFrame({"headline": ["oil rises", None]}).write_parquet(tmp_path / "n.parquet")
    done = run("score", "n.parquet", "--model", "model", "--summary", "json")
    assert done.code == 0, done.err
    assert done.json["rows"]["scored"] == 1


@pytest.mark.parametrize(
    "family", ["Bert", "Roberta", "MPNet", "DebertaV2", "ModernBert", "DistilBert", "Electra"]
)
def test_without_dropout_in_the_base_nothing_is_random(
    base: Callable[[str], Path], family: str
) -> None:
    import torch
    from transformers import AutoConfig

    from finsent_batch.scorers.encoder.model import new_classifier

    folder = base(family)
    ids = torch.arange(5, 23).reshape(2, 9)

    def dropouts(config: object) -> dict[str, object]:
        return {name: value for name, value in vars(config).items() if "dropout" in name}

    def answers(dropout: float) -> list[torch.Tensor]:
        model, _ = new_classifier(folder, "mean", dropout=dropout)
        # What is saved with the weights says nothing of this training.
        assert dropouts(model.config) == dropouts(AutoConfig.from_pretrained(folder))
        model.train()
        return [model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for _ in range(2)]

    assert torch.equal(*answers(0.0))
    assert not torch.equal(*answers(0.5))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_base_is_loaded_without_transformers_report(
    tiny_model: Path, base: Callable[[str], Path], capfd: pytest.CaptureFixture[str], pooling: str
) -> None:
    from transformers.utils import logging

    from finsent_batch.scorers.encoder.model import new_classifier

    folder = base("Bert") if pooling == "cls" else tiny_model  # lacks a head, or has one too many
    level = logging.get_verbosity()
    logging.set_verbosity_warning()
    try:
        capfd.readouterr()
        _, new = new_classifier(folder, pooling)
        assert capfd.readouterr() == ("", "")
        assert logging.get_verbosity() == logging.WARNING
    finally:
        logging.set_verbosity(level)
    assert bool(new) == (pooling == "cls")


def test_a_trained_encoder_teaches_a_student(
    run: Run, split: Path, base: Callable[[str], Path], tmp_path: Path
) -> None:
    assert train(run, base("MPNet")).code == 0
    feed = {"headline": [f"bank {verb} jobs {i}" for i in range(20) for verb in VERBS.values()]}
    pl.DataFrame(feed).write_parquet(tmp_path / "feed.parquet")
    assert run("score", "feed.parquet", "--model", "model", "-o", "s.parquet").code == 0
    options = ("--data", "split", "--base", base("Bert"), "-o", "student", *FAST, "--lora-r", 4)
    done = run("-q", "train", *options, "--soft-labels", "s.parquet")
    assert done.code == 0, done.err


def test_a_whole_model_replaces_an_adapter_and_an_adapter_a_whole_model(
    run: Run, split: Path, base: Callable[[str], Path], tmp_path: Path
) -> None:
    pl.DataFrame({"headline": ["oil rises"]}).write_parquet(tmp_path / "n.parquet")
    for preset in ("mini", "encoder", "mini"):
        options = ("--data", "split", "--base", base("Bert"), "-o", "model", *FAST, "--overwrite")
        done = run("-q", "train", "--preset", preset, *options)
        assert done.code == 0, done.err
        assert run("score", "n.parquet", "--model", "model").code == 0


def test_every_weight_of_the_encoder_is_trained(
    run: Run, split: Path, base: Callable[[str], Path], tmp_path: Path
) -> None:
    before = load_file(base("Bert") / "model.safetensors")
    assert train(run, tmp_path / "Bert").code == 0
    after = load_file(tmp_path / "model" / "model.safetensors")
    layers = [name for name in before if ".layer." in name and name.endswith("dense.weight")]
    assert layers
    assert all(not before[name].half().equal(after[f"bert.{name}"].half()) for name in layers)


def test_settings_of_adapters_and_foreign_bases_are_refused(
    run: Run,
    split: Path,
    base: Callable[[str], Path],
    causal_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    done = train(run, base("Bert"), "--lora-r", 8)
    assert (done.code, "--lora-r is for adapters" in done.err) == (2, True), done.err
    (tmp_path / "empty").mkdir()
    done = train(run, tmp_path / "empty")
    assert (done.code, "empty" in done.err) == (66, True), done.err
    done = train(run, causal_base())
    assert (done.code, "is no encoder" in done.err) == (78, True), done.err
