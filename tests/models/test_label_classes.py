"""`--model-labels`: five stars or two labels as three, each way of saying so held against torch."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from finsent_batch.config import ModelConfig
from finsent_batch.errors import ConfigError, UsageError
from finsent_batch.evaluation.describe import describe
from finsent_batch.labels import LABELS
from finsent_batch.models.directory import open_model
from finsent_batch.models.label_classes import PLAIN, identity, map_classes

from ..helpers.references import HEADLINES, ours

STARS = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]
STARS_AS = "0=negative,1=negative,2=neutral,3=positive,4=positive"


def save_outputs(source, folder, outputs):
    """Save the tiny classifier with a new random head for outputs of these names."""
    import torch
    from transformers import AutoModelForSequenceClassification

    shutil.copytree(source, folder)
    torch.manual_seed(5)
    model = AutoModelForSequenceClassification.from_pretrained(
        source,
        num_labels=len(outputs),
        id2label=dict(enumerate(outputs)),
        label2id={name: i for i, name in enumerate(outputs)},
        ignore_mismatched_sizes=True,
    )
    with torch.no_grad():
        model.classifier.weight.normal_(0, 0.8)
    model.save_pretrained(folder)
    return folder


def softmax(folder, kept=None):
    """Return transformers' probabilities of the outputs that are kept, (n, kept)."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        rows = [model(**tokenizer(h, return_tensors="pt")).logits[0] for h in HEADLINES]
    logits = torch.stack(rows)
    return (logits if kept is None else logits[:, kept]).softmax(-1).numpy()


@pytest.fixture
def stars(tiny_model, tmp_path):
    return save_outputs(tiny_model, tmp_path / "stars", STARS)


@pytest.fixture
def two(tiny_model, tmp_path):
    return save_outputs(tiny_model, tmp_path / "two", ["NEGATIVE", "POSITIVE"])


def pairs(text):
    return tuple(tuple(part.split("=")) for part in text.split(","))


def merged(probabilities):
    """Return five stars' probabilities as three labels'."""
    p = probabilities
    return np.stack([p[:, 0] + p[:, 1], p[:, 2], p[:, 3] + p[:, 4]], axis=1)


def scored(run, model, *options):
    pl.DataFrame({"headline": HEADLINES}).write_parquet("feed.parquet")
    done = run("score", "feed.parquet", "--model", model, "-o", "out.parquet", "--overwrite",
               "--weights", "fp32", "--summary", "json", *options)  # fmt: skip
    assert done.code == 0, done.err
    found = pl.read_parquet("out.parquet")
    return found.select(f"p_{label}" for label in LABELS).to_numpy(), done.json


def test_probabilities_of_outputs_that_are_one_label_add_up(run, stars):
    found, summary = scored(run, stars, "--model-labels", STARS_AS)
    assert found == pytest.approx(merged(softmax(stars)), abs=1e-4)
    assert summary["warnings"] == []
    assert np.ptp(found, axis=0).max() > 0.01


def test_an_output_that_is_dropped_takes_no_part(run, stars):
    dropped = "0=negative,1=drop,2=neutral,3=drop"
    found, _ = scored(run, stars, "--model-labels", dropped, "--model-labels", "5 stars=positive")
    assert found == pytest.approx(softmax(stars, [0, 2, 4]), abs=1e-4)


def test_a_model_of_two_labels_never_says_neutral_and_that_is_said(run, two):
    found, summary = scored(run, two, "--model-labels", "negative=negative,1=positive")
    assert found[:, [0, 2]] == pytest.approx(softmax(two), abs=1e-4)
    assert (found[:, 1] == 0).all()
    assert summary["labels"].get("neutral", 0) == 0
    assert "has no output for neutral" in " ".join(summary["warnings"])


def test_what_outputs_mean_is_part_of_the_fingerprint(run, stars):
    first, one = scored(run, stars, "--model-labels", STARS_AS)
    other, two = scored(run, stars, "--model-labels", STARS_AS.replace("3=positive", "3=neutral"))
    assert one["model_fingerprint"] != two["model_fingerprint"]
    assert two["rows"]["reused"] == 0
    assert not np.allclose(first, other, atol=1e-3)


def test_names_of_three_outputs_keep_the_fingerprint_they_had():
    assert identity(PLAIN) == [0, 1, 2]
    assert identity(((2,), (0,), (1,))) == [2, 0, 1]
    assert identity(((0, 1), (2,), ())) == [[0, 1], [2], []]


def test_the_way_of_a_five_star_model(run, stars, tiny_model):
    """describe, evaluate, compare, describe --write, promote, score with the default."""
    pl.DataFrame({"headline": HEADLINES, "label": (list(LABELS) * 2)[:5]}).write_csv("labelled.csv")
    data = ("--data", "labelled.csv", "--weights", "fp32")
    expected = merged(softmax(stars))
    said = dict(describe(ModelConfig(model=str(stars), model_labels=pairs(STARS_AS))))
    assert said["outputs"].startswith("0 '1 star' → negative; 1 '2 stars' → negative")

    done = run("evaluate", "--model", stars, "--model-labels", STARS_AS, "--against", tiny_model,
               "-o", "report", *data)  # fmt: skip
    assert done.code == 0, done.err
    columns = [f"p_{label}" for label in LABELS]
    found = pl.read_parquet("report/predictions.parquet")
    assert found.select(columns).to_numpy() == pytest.approx(expected, abs=1e-4)
    plain = found.select(f"against_{name}" for name in columns).to_numpy()
    assert plain == pytest.approx(ours(tiny_model), abs=1e-6), "its own names hold for the other"
    done = run("compare", tiny_model, stars, "--model-labels", STARS_AS, *data)
    assert done.code == 0, done.err

    done = run("models", "promote", stars, "--model-labels", STARS_AS, *data)
    assert (done.code, "--model-labels … --write" in done.err) == (2, True)
    done = run("models", "describe", stars, "--model-labels", STARS_AS, "--write")
    assert done.code == 0, done.err
    card = json.loads((stars / "finsent.json").read_text())
    assert card["label_map"] == {"0": "negative", "1": "negative", "2": "neutral",
                                 "3": "positive", "4": "positive"}  # fmt: skip
    assert card["format_version"] == 2, "earlier versions would take the first three outputs"
    assert ours(stars) == pytest.approx(expected, abs=1e-4)
    done = run("models", "promote", stars, "--gate", "accuracy>=0", *data)
    assert done.code == 0, done.err
    assert scored(run, "promoted")[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("0=negative,1=positive", "says nothing of output 2"),
        (f"{STARS_AS},5=drop", "'5' is none of the outputs"),
        (f"{STARS_AS},5 stars=drop", r"names output 4 of .* \(5 stars\) twice"),
        (STARS_AS.replace("2=neutral", "2=mixed"), "2=mixed: an output is negative, neutral"),
        ("0=drop,1=drop,2=drop,3=drop,4=positive", "fewer than two labels"),
    ],
)
def test_what_does_not_fit_is_named(stars, said, message):
    with pytest.raises(UsageError, match=message):
        open_model(str(stars), model_labels=pairs(said))


def test_a_number_that_is_another_outputs_name_is_not_guessed():
    with pytest.raises(UsageError, match="'0' means more than one output"):
        map_classes("m", ["-1", "0", "1"], [("0", "neutral")])


@pytest.mark.parametrize("outputs", [STARS, ["NEGATIVE", "POSITIVE"], ["LABEL_0", "LABEL_1"]])
def test_the_refusal_says_what_works(tiny_model, tmp_path, outputs):
    model = save_outputs(tiny_model, tmp_path / "model", outputs)
    with pytest.raises(ConfigError, match="--model-labels 0=negative,1=") as caught:
        open_model(str(model))
    advised = str(caught.value).rpartition("--model-labels ")[2]
    assert ours(model, model_labels=pairs(advised)).shape == (len(HEADLINES), 3)


@pytest.mark.parametrize(
    ("outputs", "advised"),
    [
        (["positive", "negative", "mixed"], "0=positive,1=negative,2=drop"),
        (["positive", "negative", "neutral", "mixed"], "0=positive,1=negative,2=neutral,3=drop"),
        (["positiv", "negativ", "neutral"], "0=LABEL,1=LABEL,2=neutral, each LABEL one of"),
        (["1", "-1", "0"], "0=LABEL,1=LABEL,2=LABEL, each LABEL one of"),
    ],
)
def test_the_refusal_advises_nothing_against_the_outputs_names(
    tiny_model, tmp_path, outputs, advised
):
    model = save_outputs(tiny_model, tmp_path / "model", outputs)
    with pytest.raises(ConfigError, match=f"--model-labels {advised}"):
        open_model(str(model))


def test_a_model_of_one_output_is_told_that_it_has_no_labels(tiny_model, tmp_path):
    model = save_outputs(tiny_model, tmp_path / "model", ["LABEL_0"])
    with pytest.raises(ConfigError, match="a number and no labels: name a classifier of"):
        open_model(str(model))


def test_outputs_are_not_named_twice_over(stars, tiny_model, causal_base):
    with pytest.raises(UsageError, match="--model-labels is for classifiers"):
        open_model(str(causal_base()), model_labels=pairs(STARS_AS))
    with pytest.raises(UsageError, match="the manifest of mini says"):
        open_model("mini", model_labels=pairs("0=negative,1=neutral,2=positive"))


def test_comparing_models_whose_names_do_refuses_the_option(run, tiny_model):
    pl.DataFrame({"headline": HEADLINES}).write_csv("feed.csv")
    done = run("compare", "mini", tiny_model, "--model-labels", STARS_AS, "--data", "feed.csv")
    assert (done.code, "own names say" in done.err) == (2, True)


def test_a_damaged_label_map_is_named(stars):
    assert open_model(str(stars), model_labels=pairs(STARS_AS))
    card = {"format_version": 2, "family": "sequence_classifier", "merged": True,
            "base": {"id": "stars"}, "labels": list(LABELS), "max_length": 64, "temperature": 1.0,
            "label_map": {"0": "negative", "1": "positive"}}  # fmt: skip
    for broken in ({"0": "negative", "1": "positive"}, ["negative"]):
        (stars / "finsent.json").write_text(json.dumps(card | {"label_map": broken}))
        with pytest.raises(ConfigError, match=r"label_map in its finsent\.json does not fit"):
            open_model(str(stars))


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_outputs_that_are_no_probabilities_of_one_label_are_refused(tiny_model, tmp_path, problem):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text()) | {"problem_type": problem}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=f"its problem_type is {problem}"):
        open_model(str(model))
