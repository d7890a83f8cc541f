"""Which model gives which answer, and which change of a model asks for new answers."""

import json
import shutil

import duckdb
import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from finsent_batch.models.directory import open_model
from finsent_batch.models.weight_files import FileHashes

from ..helpers.stores import remove_store

LABELS = ("negative", "neutral", "positive")


def test_labels_are_those_of_a_plain_forward_pass_one_headline_at_a_time(
    score, feed, tmp_path, tiny_model
):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    score("feed.parquet")
    published = pl.read_parquet(tmp_path / "feed.scored.parquet").drop_nulls("sentiment")
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert model.config.id2label == {0: "positive", 1: "negative", 2: "neutral"}
    for row in published.iter_rows(named=True):
        text = " ".join(row["headline"].split())
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        expected = dict(
            zip(model.config.id2label.values(), logits.softmax(-1).tolist(), strict=True)
        )
        assert row["sentiment"] == max(expected, key=expected.get)
        for label in LABELS:
            assert row[f"p_{label}"] == pytest.approx(expected[label], abs=1e-5)
        difference = expected["positive"] - expected["negative"]
        assert row["sentiment_score"] == pytest.approx(difference, abs=1e-5)
    assert published["sentiment"].n_unique() > 1


def test_probabilities_sum_to_one(score, feed, tmp_path):
    score("feed.parquet")
    published = pl.read_parquet(tmp_path / "feed.scored.parquet").drop_nulls("sentiment")
    sums = published.select(pl.sum_horizontal("p_negative", "p_neutral", "p_positive"))
    assert sums.to_series().to_list() == pytest.approx([1] * published.height, abs=1e-6)


def test_batch_size_changes_neither_labels_nor_fingerprint(score, tmp_path, wordy):
    pl.DataFrame({"headline": wordy(300)}).write_parquet(tmp_path / "feed.parquet")
    tables, fingerprints = [], set()
    for tokens in (1, 64, 4096):
        remove_store(tmp_path / "finsent.duckdb")
        fingerprints.add(score("feed.parquet", "--max-batch-tokens", tokens)["model_fingerprint"])
        tables.append(pl.read_parquet(tmp_path / "feed.scored.parquet"))
    assert len(fingerprints) == 1
    for other in tables[1:]:
        assert other["sentiment"].to_list() == tables[0]["sentiment"].to_list()
        for label in LABELS:
            gap = (other[f"p_{label}"] - tables[0][f"p_{label}"]).abs().max()
            assert gap < 1e-4


def altered(model, folder, change):
    """Copy the model and change one thing in the copy."""
    shutil.copytree(model, folder)
    if change == "weights":
        tensors = load_file(folder / "model.safetensors")
        tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(0.25)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    elif change == "tokenizer":
        text = (folder / "tokenizer.json").read_text()
        (folder / "tokenizer.json").write_text(
            text.replace('"lowercase": true', '"lowercase": false')
        )
    elif change == "label order":
        card = json.loads((folder / "config.json").read_text())
        del card["label2id"]
        card["id2label"] = {"0": "neutral", "1": "negative", "2": "positive"}
        (folder / "config.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize("change", ["weights", "tokenizer", "label order"])
def test_a_changed_model_reuses_nothing_and_the_old_scores_stay(
    score, feed, tmp_path, tiny_model, change
):
    first = score("feed.parquet")
    old = pl.read_parquet(tmp_path / "feed.scored.parquet")
    other = altered(tiny_model, tmp_path / "other", change)
    second = score("feed.parquet", model=other)
    assert second["model_fingerprint"] != first["model_fingerprint"]
    assert second["rows"]["unique_scored"] == 8
    new = pl.read_parquet(tmp_path / "feed.scored.parquet")
    assert set(new["model_fingerprint"].drop_nulls()) == {second["model_fingerprint"]}
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        counts = store.execute("SELECT model_fingerprint, count(*) FROM scores GROUP BY 1")
        found = dict(counts.fetchall())
    assert found == {first["model_fingerprint"]: 8, second["model_fingerprint"]: 8}
    again = score("feed.parquet")
    assert again["rows"]["unique_scored"] == 0
    assert pl.read_parquet(tmp_path / "feed.scored.parquet").equals(old)


def test_a_copy_of_a_model_is_the_same_model(score, feed, tmp_path, tiny_model):
    first = score("feed.parquet")
    copy = altered(tiny_model, tmp_path / "copy", "nothing")
    second = score("feed.parquet", model=copy)
    assert second["model_fingerprint"] == first["model_fingerprint"]
    assert second["rows"]["unique_scored"] == 0


def test_the_arithmetic_is_part_of_the_fingerprint(tiny_model):
    spec = open_model(str(tiny_model))
    found = {spec.fingerprint(weights, FileHashes()) for weights in ("fp32", "bf16", "int8")}
    assert len(found) == 3
