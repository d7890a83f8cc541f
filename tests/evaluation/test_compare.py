"""`compare`: two models on labelled and unlabelled headlines."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from finsent_batch.labels import LABELS


@pytest.fixture(scope="session")
def other_model(tiny_model, tmp_path_factory):
    """The tiny model with its labels in another order: it answers otherwise."""
    folder = tmp_path_factory.mktemp("models") / "other"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "negative", "1": "positive", "2": "neutral"}
    config["label2id"] = {"negative": 0, "positive": 1, "neutral": 2}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def compare(run, tiny_model, other_model):
    def call(*arguments, other=other_model):
        return run("compare", tiny_model, other, "--weights", "fp32", *arguments)

    return call


@pytest.fixture
def labelled(tmp_path, wordy):
    labels = [LABELS[i % 3] for i in range(60)]
    frame = pl.DataFrame({"headline": wordy(60), "label": labels})
    frame.write_parquet(tmp_path / "test.parquet")
    return frame


def test_labelled_headlines(compare, labelled, run, tiny_model, other_model, tmp_path):
    done = compare("--data", "test.parquet", "--summary", "json", "-o", "flips.parquet")
    assert done.code == 0, done.err
    found = done.json
    flips = pl.read_parquet(tmp_path / "flips.parquet")
    run("evaluate", "--model", tiny_model, "--against", other_model, "--weights", "fp32",
        "--data", "test.parquet", "-o", "report")  # fmt: skip
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    predictions = pl.read_parquet(tmp_path / "report" / "predictions.parquet")
    for key in ("accuracy", "macro_f1", "confusion", "ece"):
        assert found["labelled"]["models"][0][key] == report[key]
        assert found["labelled"]["models"][1][key] == report["against"][key]
    assert found["labelled"]["mcnemar"] == report["mcnemar"]
    difference = found["labelled"]["difference"]["accuracy"]
    assert difference["difference"] == pytest.approx(
        report["against"]["accuracy"] - report["accuracy"]
    )
    assert difference["low"] <= difference["difference"] <= difference["high"]
    differ = predictions.filter(pl.col("sentiment") != pl.col("against_sentiment"))
    assert found["flips"] == flips.height == differ.height > 0
    assert flips.columns == [
        "headline", "label", "one", "other", "one_score", "other_score", "change",
        "one_model", "other_model", "rows",
    ]  # fmt: skip
    assert flips["one_model"].unique().to_list() == [found["models"][0]["model"]]
    assert flips["other_model"].unique().to_list() == [found["models"][1]["model"]]
    assert set(flips["headline"]) == set(differ["headline"])
    assert flips["change"].abs().is_sorted(descending=True)
    assert found["agreement"]["share"] == pytest.approx(1 - flips.height / 60)
    assert found["models"][0]["model_fingerprint"] == report["model_fingerprint"]


def test_headlines_without_labels(compare, wordy, tmp_path):
    texts = [*wordy(30), None, "  "]
    # What a model said is no truth: `sentiment` does not make the file a labelled one.
    said = ["neutral"] * len(texts)
    pl.DataFrame({"title": texts, "sentiment": said}).write_parquet(tmp_path / "news.parquet")
    done = compare("--data", "news.parquet", "--summary", "json", "-o", "flips.csv")
    assert done.code == 0, done.err
    found = done.json
    assert found["labelled"] is None
    assert found["n"] == 32
    assert [m["missing"] for m in found["models"]] == [2, 2]
    flips = pl.read_csv(tmp_path / "flips.csv")
    assert flips.columns[:6] == ["headline", "one", "other", "one_score", "other_score", "change"]
    assert found["agreement"]["share"] == pytest.approx(1 - flips.height / 32)
    # The other model is this one with positive and negative exchanged.
    assert np.allclose(flips["one_score"], -flips["other_score"])
    one, other = (m["labels"] for m in found["models"])
    assert (one["positive"], one["negative"]) == (other["negative"], other["positive"])
    assert found["models"][0]["mean_score"] == pytest.approx(-found["models"][1]["mean_score"])


def test_a_headline_that_stands_there_twice_is_one_flip_of_two_rows(compare, wordy, tmp_path):
    texts = [*wordy(20), *wordy(20), *wordy(5)]
    pl.DataFrame({"title": texts}).write_parquet(tmp_path / "news.parquet")
    found = compare("--data", "news.parquet", "--summary", "json", "-o", "flips.csv").json
    flips = pl.read_csv(tmp_path / "flips.csv")
    assert flips["headline"].is_unique().all()
    assert set(flips["rows"]) <= {2, 3}
    assert found["flips"] == flips["rows"].sum() > flips.height


def test_what_is_printed(compare, labelled):
    done = compare("--data", "test.parquet")
    assert done.code == 0
    for words in ("flips, ", "agreement ", "McNemar: ", "95 % interval", "macro f1"):
        assert words in done.out
    limited = compare("--data", "test.parquet", "--limit", "5")
    assert "5 headlines, " in limited.out


def test_a_model_never_differs_from_itself(compare, labelled, tiny_model):
    done = compare("--data", "test.parquet", "--summary", "json", other=tiny_model)
    found = done.json
    assert found["flips"] == 0
    assert found["agreement"]["share"] == 1.0
    assert found["labelled"]["mcnemar"]["p_value"] == 1.0
    assert found["mean_absolute_change"] == 0.0
    assert "flips" not in compare("--data", "test.parquet", other=tiny_model).out.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "gone.parquet"], 66, "gone.parquet does not exist"),
        (["--data", "test.parquet", "-o", "flips.txt"], 2, "flips are written as .parquet, .csv"),
        (["--data", "test.parquet", "-o", "no/flips.csv"], 73, "cannot write no/flips.csv"),
        (["--data", "empty.csv"], 65, "empty.csv has no rows: there is nothing to compare"),
        (["--data", "test.parquet", "--label-column", "x"], 65, "has no column x: name one with"),
        (["--data", "odd.csv"], 65, "odd.csv has labels other than negative, neutral, positive"),
        (["--data", "none.csv"], 65, "none.csv has no column headline or title"),
    ],
)
def test_one_line_says_what_is_wrong(compare, labelled, tmp_path, arguments, code, message):
    (tmp_path / "empty.csv").write_text("headline\n")
    (tmp_path / "odd.csv").write_text("headline,label\nOil falls,bad\n")
    (tmp_path / "none.csv").write_text("label\npositive\n")
    done = compare(*arguments)
    assert done.code == code
    assert message in done.err
    assert done.out == ""
