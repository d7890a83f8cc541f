"""prepare → train → evaluate → score through the command line, on a tiny base."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file

from ..conftest import Result

FAST = ("--num-train-epochs", 2, "--per-device-train-batch-size", 8, "--lora-r", 4, "--threads", 1)


@pytest.fixture
def split(tmp_path: Path, run: Callable[..., Result]) -> Path:
    """Sixty sentences whose label their verb tells, split by `prepare`."""
    draw = random.Random(0)
    verbs = {"positive": "rises", "negative": "falls", "neutral": "posts"}
    rows = []
    for i in range(60):
        label = list(verbs)[i % 3]
        words = draw.sample(["nokia", "bank", "oil", "profit", "sales", "shares", "jobs"], 3)
        rows.append((f"{' '.join(words)} {verbs[label]} {i}", label))
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(tmp_path / "mine.csv")
    done = run("prepare", "mine.csv", "-o", "split", "--valid-size", 0.2, "--test-size", 0.2)
    assert done.code == 0, done.err
    return tmp_path / "split"


def train(run: Callable[..., Result], base: Path, output: str, *more: object) -> Result:
    options = ("--data", "split", "--base", base, "-o", output, *FAST)
    return run("-q", "train", "--preset", "mini", *options, *more)


def test_a_trained_model_evaluates_and_scores(
    run: Callable[..., Result], split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = train(run, tiny_model, "model")
    assert done.code == 0, done.err
    files = {f.name for f in (tmp_path / "model").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "finsent.json"} <= files
    assert {"README.md", "tokenizer.json", "logs", "training_log.json"} <= files
    log = json.loads((tmp_path / "model" / "training_log.json").read_text())
    assert any("loss" in entry for entry in log)
    assert [entry["epoch"] for entry in log if "eval_accuracy" in entry] == [1, 2]
    card = json.loads((tmp_path / "model" / "finsent.json").read_text())
    assert card["family"] == "sequence_classifier"
    assert card["labels"] == ["negative", "neutral", "positive"]
    assert card["temperature"] > 0
    assert card["training"]["hyperparameters"]["lora_r"] == 4
    assert str(tmp_path) not in (tmp_path / "model" / "adapter_config.json").read_text()
    told = (tmp_path / "model" / "README.md").read_text()
    assert "Licences of the data apply" in told
    assert "base_dropout" not in told, "left to the base"

    done = run("evaluate", "--model", "model", "--data", split / "test.parquet", "-o", "report")
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert 'id="learning-curve"' in (tmp_path / "report" / "report.html").read_text()
    stored = card["metrics"]["test/split"]
    assert metrics["accuracy"] == pytest.approx(stored["accuracy"], abs=0.1)

    pl.DataFrame({"headline": ["oil rises", None]}).write_parquet(tmp_path / "n.parquet")
    done = run("score", "n.parquet", "--model", "model", "--summary", "json")
    assert done.code == 0, done.err
    assert done.json["model_fingerprint"] == metrics["model_fingerprint"]


def test_same_seed_same_adapter_and_other_seed_another(
    run: Callable[..., Result], split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        assert train(run, tiny_model, name, "--seed", seed, "--pooling", "cls").code == 0
    one, again, other = (
        load_file(tmp_path / name / "adapter_model.safetensors")
        for name in ("one", "again", "other")
    )
    assert all(one[key].equal(again[key]) for key in one)
    assert any(not one[key].equal(other[key]) for key in one)


def test_an_adapter_on_another_base_is_refused(
    run: Callable[..., Result], split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for file in tiny_model.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    assert train(run, base, "model").code == 0
    weights = bytearray((base / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (base / "model.safetensors").write_bytes(weights)
    done = run("evaluate", "--model", "model", "--data", split / "test.parquet", "-o", "report")
    assert done.code == 78
    assert "another base" in done.err


def test_a_model_is_not_replaced_unasked(
    run: Callable[..., Result], split: Path, tiny_model: Path
) -> None:
    assert train(run, tiny_model, "model").code == 0
    assert train(run, tiny_model, "model").code == 73
    assert train(run, tiny_model, "model", "--overwrite").code == 0


def test_a_headline_in_two_splits_stops_training(
    run: Callable[..., Result], split: Path, tiny_model: Path
) -> None:
    train_rows = pl.read_parquet(split / "train.parquet")
    test_rows = pl.read_parquet(split / "test.parquet")
    pl.concat([test_rows, train_rows.head(1)]).write_parquet(split / "test.parquet")
    done = train(run, tiny_model, "model")
    assert done.code == 65
    assert "1 headlines stand in both train and test" in done.err


def test_two_folders_of_one_name_are_not_mixed_up(
    run: Callable[..., Result], split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = train(run, tiny_model, "model", "--data", tmp_path / "elsewhere" / split.name)
    assert (done.code, "two --data folders are called split" in done.err) == (2, True), done.err


def test_a_folder_without_splits_is_named(
    run: Callable[..., Result], tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "split").mkdir()
    done = train(run, tiny_model, "model")
    assert done.code == 66
    assert "train.parquet does not exist" in done.err


def test_gates_and_comparison(
    run: Callable[..., Result], split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    data = ("--data", split / "test.parquet", "-o", "report")
    done = run("evaluate", "--model", tiny_model, *data, "--gate", "accuracy>=1.01")
    assert done.code == 3
    assert "gate failed: accuracy is" in done.err
    assert (tmp_path / "report" / "metrics.json").exists()
    done = run(
        "evaluate", "--model", tiny_model, *data, "--against", tiny_model,
        "--gate", "no-regression", "--gate", "per_class.neutral.recall>=0", "--overwrite",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "p = 1" in done.out
    predictions = pl.read_parquet(tmp_path / "report" / "predictions.parquet")
    assert predictions["sentiment"].to_list() == predictions["against_sentiment"].to_list()
    assert run("evaluate", *data, "--gate", "accuracy about 1").code == 2
    assert run("evaluate", *data, "--gate", "no-regression").code == 2


def test_a_blank_headline_has_no_prediction_and_counts_as_wrong(
    run: Callable[..., Result], tiny_model: Path, tmp_path: Path
) -> None:
    rows = {"text": ["oil rises", "  "], "label": ["positive", "neutral"]}
    pl.DataFrame(rows).write_csv(tmp_path / "few.csv")
    done = run("evaluate", "--model", tiny_model, "--data", "few.csv", "-o", "report")
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["missing"] == 1
    assert metrics["per_class"]["neutral"]["accuracy"] == 0
    assert metrics["confusion"][1] == [0, 0, 0, 1]
