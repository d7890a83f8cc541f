"""The queries about runs, models and evaluations, with every row they must give."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.errors import MissingInputError, ParameterError
from finsent_batch.metrics.classification import evaluate_predictions
from finsent_batch.queries.run import run_query
from finsent_batch.store.store import Store
from finsent_batch.store.views import refresh_views

NOON = datetime(2024, 6, 1, 12)
CHANCES = ("p_negative", "p_neutral", "p_positive")


@pytest.fixture
def config(tmp_path):
    """A store with a model `m` of fingerprint `f`."""
    config = StoreConfig(path=tmp_path / "s.duckdb")
    with Store.open(config) as store:
        store.insert("models", {"model_fingerprint": "f", "model": "m"})
    return config


def ask(config, name, **parameters):
    pairs = [(key, str(value)) for key, value in parameters.items()]
    return run_query(name, config, parameters=pairs)


# ---- runs


def test_reuse(config):
    with Store.open(config) as store:
        # run, hour, fingerprint, read, scored, reused, rate, status
        for run_id, hour, model, read, scored, reused, rate, status in (
            ("one", 1, "f", 100, 80, 20, 20.0, "done"),  # 4 s of scoring
            ("two", 2, "f", 100, 20, 80, 10.0, "done"),  # 2 s: 100 headlines in 6 s in all
            ("odd", 3, "g", 10, 0, 10, None, "done"),
            ("bad", 4, "f", 50, 1, 49, 1.0, "failed"),
        ):
            counts = {"rows_read": read, "unique_scored": scored, "rows_reused": reused}
            about = {"run_id": run_id, "status": status, "started_at": NOON.replace(hour=hour)}
            more = {"input": f"{run_id}.csv", "model": model, "model_fingerprint": model}
            store.insert("runs", about | counts | more | {"headlines_per_second": rate})
    rate = 101 / 7  # the failed run's headline was scored too
    saved = [pytest.approx(n / rate) for n in (80, 20, 100)]
    hours = [NOON.replace(hour=hour) for hour in (3, 2, 1)]
    assert ask(config, "reuse").rows() == [
        (hours[0], "odd.csv", "g", 10, 0, 10, 1.0, None, "odd"),
        (hours[1], "two.csv", "f", 100, 20, 80, 0.8, saved[0], "two"),
        (hours[2], "one.csv", "f", 100, 80, 20, 0.2, saved[1], "one"),
        (None, "these runs", None, 210, 100, 110, 110 / 210, saved[2], None),
    ]
    assert ask(config, "reuse", limit=1)["input"].to_list() == ["odd.csv", "these runs"]


# ---- two models


def score(store, fingerprint, hour, *rows):
    for number, chances in rows:
        store.insert(
            "scores",
            {
                "headline_key": f"{number:032x}",
                "headline": f"Headline {number}",
                "model_fingerprint": fingerprint,
                **dict(zip(CHANCES, chances, strict=True)),
                "truncated": False,
                "run_id": "run",
                "scored_at": NOON.replace(hour=hour),
            },
        )


@pytest.fixture
def two_models(config):
    """Fingerprints aa (scored first), bb (last) and cc (between)."""
    with Store.open(config) as store:
        score(store, "aa", 1, (1, (1, 0, 0)), (2, (0, 1, 0)), (3, (0, 0, 1)), (4, (0, 0, 1)))
        score(store, "bb", 9, (1, (0, 0.25, 0.75)), (2, (0, 1, 0)), (3, (0, 0.75, 0.25)))
        score(store, "cc", 5, (2, (0, 0, 1)))
    return config


def test_model_disagreement(two_models):
    found = ask(two_models, "model_disagreement", one="aa", other="bb")
    assert found.rows() == [
        ("Headline 1", "negative", "positive", -1.0, 0.75, 1.75, "aa", "bb"),
        ("Headline 3", "positive", "neutral", 1.0, 0.25, -0.75, "aa", "bb"),
    ]
    assert ask(two_models, "model_disagreement", one="aa", other="bb", limit=1).height == 1


@pytest.mark.parametrize(
    ("parameters", "pair"),
    [({}, ("bb", "cc")), ({"one": "c"}, ("cc", "bb")), ({"other": "b"}, ("cc", "bb"))],
)
def test_models_that_are_not_named_are_those_that_scored_last(two_models, parameters, pair):
    found = ask(two_models, "model_disagreement", **parameters)
    assert [row[-2:] for row in found.rows()] == [pair]


def test_one_model_disagrees_with_none(config):
    with Store.open(config) as store:
        score(store, "aa", 1, (1, (1, 0, 0)))
    assert ask(config, "model_disagreement").height == 0


# ---- evaluations


PREDICTIONS = [
    # label, then the probabilities
    ("negative", (0.75, 0.25, 0.0)),
    ("negative", (0.25, 0.5, 0.25)),
    ("neutral", (0.125, 0.75, 0.125)),
    ("positive", (0.0, 0.25, 0.75)),
    ("positive", None),
]
NAMES = ("negative", "neutral", "positive")


def frame_of(predictions):
    said = [p for _, p in predictions]
    columns = {
        name: pl.Series([p and p[i] for p in said], dtype=pl.Float32)
        for i, name in enumerate(CHANCES)
    }
    return pl.DataFrame(
        {
            "headline": [f"Headline {i}" for i in range(len(said))],
            "label": [label for label, _ in predictions],
            "sentiment": [p and NAMES[p.index(max(p))] for p in said],
            **columns,
        }
    )


def record(config, file, *, model="m", fingerprint="f", hour=1):
    """Note an evaluation in the store as `evaluate` does."""
    with Store.open(config) as store:
        row = {"evaluated_at": NOON.replace(hour=hour), "model": model, "data": "/data/t.parquet"}
        predictions = f'{{"predictions": "{file}"}}'
        store.insert(
            "evaluations", row | {"model_fingerprint": fingerprint, "metrics": predictions}
        )
        refresh_views(store)


@pytest.fixture
def evaluated(config, tmp_path):
    file = tmp_path / "predictions.parquet"
    frame_of(PREDICTIONS).write_parquet(file)
    record(config, file)
    return config


def test_accuracy_by_class(evaluated):
    assert ask(evaluated, "accuracy_by_class").rows() == [
        ("m", "/data/t.parquet", "negative", 2, 0.5, 1.0, 2 / 3, "f"),
        ("m", "/data/t.parquet", "neutral", 1, 1.0, 0.5, 2 / 3, "f"),
        ("m", "/data/t.parquet", "positive", 2, 0.5, 1.0, 2 / 3, "f"),
    ]


def test_confusion(evaluated):
    assert ask(evaluated, "confusion").rows() == [
        ("m", "/data/t.parquet", "negative", 2, 1, 1, 0, 0, "f"),
        ("m", "/data/t.parquet", "neutral", 1, 0, 1, 0, 0, "f"),
        ("m", "/data/t.parquet", "positive", 2, 0, 0, 1, 1, "f"),
    ]


def test_calibration(evaluated):
    gap = round((1 * 0.5 + 3 * 0.25) / 4, 4)
    assert ask(evaluated, "calibration", bins=4).rows() == [
        ("m", "/data/t.parquet", 0.25, 0.5, 1, 0.5, 0.0, -0.5, gap, "f"),
        ("m", "/data/t.parquet", 0.5, 0.75, 3, 0.75, 1.0, 0.25, gap, "f"),
    ]


def test_the_queries_agree_with_evaluate(config, tmp_path):
    draw = np.random.default_rng(0)
    chances = draw.dirichlet((1, 1, 1), 500).astype(np.float32)
    truth = draw.integers(0, 3, 500)
    rows = [(NAMES[t], tuple(map(float, c))) for t, c in zip(truth, chances, strict=True)]
    frame_of(rows).write_parquet(tmp_path / "p.parquet")
    record(config, tmp_path / "p.parquet")
    expected = evaluate_predictions(truth, chances)
    for row in ask(config, "accuracy_by_class").to_dicts():
        figures = expected["per_class"][row["label"]]
        assert row["accuracy"] == pytest.approx(figures["recall"], abs=6e-5)
        assert row["precision"] == pytest.approx(figures["precision"], abs=6e-5)
        assert row["f1"] == pytest.approx(figures["f1"], abs=6e-5)
    matrix = [list(row[4:8]) for row in ask(config, "confusion").rows()]
    assert matrix == expected["confusion"]
    [ece] = ask(config, "calibration")["ece"].unique()
    assert ece == pytest.approx(expected["ece"], abs=6e-5)


def test_evaluations_are_told_apart_and_chosen(config, tmp_path, monkeypatch):
    for hour, name in enumerate("xyz"):
        frame_of(PREDICTIONS[:hour + 1]).write_parquet(tmp_path / f"{name}.parquet")  # fmt: skip
        record(config, tmp_path / f"{name}.parquet", model=name, fingerprint=name * 2, hour=hour)
    count = {r["model"]: r["headlines"] for r in ask(config, "confusion").to_dicts()
             if r["label"] == "negative"}  # fmt: skip
    assert count == {"x": 1, "y": 2, "z": 2}
    assert ask(config, "confusion", model="y")["model"].to_list() == ["y"]
    assert ask(config, "accuracy_by_class", model="zz")["model"].unique().to_list() == ["z"]
    monkeypatch.chdir("/")
    assert ask(config, "calibration", data="data/t.parquet")["model"].unique().len() == 3
    with pytest.raises(ParameterError, match="no such data was evaluated; there is: /data/t"):
        ask(config, "calibration", data="/elsewhere")
    with pytest.raises(ParameterError, match="no such model was evaluated; there is: x, y, z"):
        ask(config, "confusion", model="w")


def test_predictions_that_were_written_over_belong_to_the_last_evaluation(evaluated, tmp_path):
    record(evaluated, tmp_path / "predictions.parquet", model="later", fingerprint="g", hour=2)
    assert ask(evaluated, "confusion")["model"].unique().to_list() == ["later"]


def test_an_evaluation_that_is_repeated_elsewhere_counts_once(evaluated, tmp_path):
    frame_of(PREDICTIONS[:3]).write_parquet(tmp_path / "again.parquet")
    record(evaluated, tmp_path / "again.parquet", hour=2)
    counts = ask(evaluated, "accuracy_by_class")["headlines"].to_list()
    assert counts == [2, 1, 0], "the later one's"
    (tmp_path / "again.parquet").unlink()
    counts = ask(evaluated, "accuracy_by_class")["headlines"].to_list()
    assert counts == [2, 1, 2], "the earlier one is what is left"


def test_predictions_that_are_gone(evaluated, tmp_path):
    (tmp_path / "predictions.parquet").unlink()
    with pytest.raises(MissingInputError, match=r"no predictions that still exist: run finsent"):
        ask(evaluated, "confusion")


def test_nothing_evaluated_yet(config):
    with pytest.raises(MissingInputError, match=r"knows of no predictions: run finsent-batch eval"):
        ask(config, "confusion")


def test_predictions_and_labelled_scored_rows_may_be_named(tmp_path, scored_table):
    frame_of(PREDICTIONS).write_parquet(tmp_path / "p.parquet")
    found = run_query("confusion", StoreConfig(), published=str(tmp_path / "p.parquet"))
    assert [row[2:8] for row in found.rows()] == [
        ("negative", 2, 1, 1, 0, 0), ("neutral", 1, 0, 1, 0, 0), ("positive", 2, 0, 0, 1, 1),
    ]  # fmt: skip
    rows = [(NOON, "a", (1.0, 0.0, 0.0)), (NOON, "b", (0.0, 0.0, 1.0)), (NOON, "c", None)]
    scored_table(rows, truth=["Negative", "neutral", None]).write_csv(tmp_path / "s.csv")
    named = run_query(
        "confusion",
        StoreConfig(),
        published=str(tmp_path / "s.csv"),
        parameters=[("label_column", "truth")],
    )
    assert [row[2:8] for row in named.rows()] == [
        ("negative", 1, 1, 0, 0, 0), ("neutral", 1, 0, 0, 1, 0),
    ]  # fmt: skip


def test_a_parameter_of_the_wrong_type_shows_the_header(evaluated):
    with pytest.raises(ParameterError, match="not a whole number") as caught:
        ask(evaluated, "calibration", bins="many")
    assert "param bins INTEGER" in caught.value.header
