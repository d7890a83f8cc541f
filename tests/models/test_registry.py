"""`models promote` and `rollback`, and which model `score` takes when none is named."""

import shutil

import duckdb
import polars as pl
import pytest

import finsent_batch as fb
from finsent_batch.config import ModelConfig, PromoteConfig, StoreConfig
from finsent_batch.errors import ConfigError, UsageError
from finsent_batch.evaluation.promote import promote
from finsent_batch.models.registry import resolve_promoted_model, roll_back
from finsent_batch.store.store import Store

FP32 = ("--weights", "fp32")


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy of the tiny model, which tests may change."""
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture(autouse=True)
def labelled(tmp_path, wordy, feed):
    """test.parquet with the answers of nobody in particular."""
    labels = ["positive", "neutral", "negative"] * 4
    pl.DataFrame({"headline": wordy(12), "label": labels}).write_parquet(tmp_path / "test.parquet")


@pytest.fixture
def promoted(run, model):
    done = run("models", "promote", "model", "--data", "test.parquet", *FP32,
               "--gate", "accuracy>=0")  # fmt: skip
    assert done.code == 0, done.err
    assert f"{model} (fp32) passed accuracy>=0: it is the default of finsent.duckdb" in done.out
    return model


def score(run, *arguments):
    done = run("score", "feed.parquet", "--summary", "json", *FP32, *arguments)
    assert done.code == 0, done.err
    return done.json


def test_score_takes_the_promoted_model_and_says_so(run, promoted):
    found = score(run)
    assert found["model"] == str(promoted)
    assert found["promoted"] is True
    assert found["rows"]["unique_scored"] > 0
    assert f"model {promoted} (promoted), run " in run("score", "feed.parquet", *FP32).out
    dry = run("score", "feed.parquet", "--dry-run", "--summary", "json", *FP32).json
    assert dry["to_score"] == 0


def test_a_named_model_wins_over_the_promoted_one(run, promoted, tiny_model):
    found = score(run, "--model", tiny_model)
    assert (found["model"], found["promoted"]) == (str(tiny_model), False)
    assert "(promoted)" not in run("score", "feed.parquet", "--model", tiny_model, *FP32).out


def test_the_promoted_model_is_found_from_any_folder(run, promoted, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = StoreConfig(path=tmp_path / "finsent.duckdb")
    monkeypatch.chdir(elsewhere)
    assert resolve_promoted_model(ModelConfig(), store).model == str(promoted)


def test_evaluate_and_python_take_it_too(run, promoted, tmp_path, headlines):
    done = run("evaluate", "--data", "test.parquet", "-o", "report", *FP32)
    assert done.code == 0, done.err
    with Store.open(StoreConfig(path=tmp_path / "finsent.duckdb"), read_only=True) as store:
        assert store.query("SELECT model FROM evaluations") == [(str(promoted),)]
    fb.score_frame(headlines, store=tmp_path / "finsent.duckdb")
    runs = fb.query_sql("SELECT model FROM runs", store=tmp_path / "finsent.duckdb")
    assert runs["model"].to_list() == [str(promoted)]


def test_models_lists_which_is_the_default(run, promoted, tiny_model):
    score(run, "--model", tiny_model)
    found = run("models")
    assert found.code == 0
    lines = found.out.splitlines()
    assert sum("yes" in line for line in lines) == 1
    assert "mini" in found.out


def test_rollback_goes_back_one_promotion_at_a_time(run, promoted, tiny_model, tmp_path):
    config = StoreConfig(path=tmp_path / "finsent.duckdb")
    second = PromoteConfig(
        model=ModelConfig(model=str(tiny_model), weights="fp32"),
        data=tmp_path / "test.parquet",
        store=config,
        gates=("macro_f1>=0",),
    )
    promote(second)
    assert resolve_promoted_model(ModelConfig(), config).model == str(tiny_model)
    done = run("models", "rollback")
    assert done.code == 0
    assert f"{tiny_model} is withdrawn; the default of finsent.duckdb is {promoted} now" in done.out
    assert resolve_promoted_model(ModelConfig(), config).model == str(promoted)
    listed = run("models", "history", "--format", "json").json
    assert [row["model"] for row in listed] == [str(tiny_model), str(promoted)]
    assert [row["rolled_back_at"] is None for row in listed] == [False, True]
    assert listed[0]["gates"] == "macro_f1>=0"
    assert "is mini now" in run("models", "rollback").out
    assert resolve_promoted_model(ModelConfig(), config).model == "mini"
    done = run("models", "rollback")
    assert done.code == 2
    assert "nothing is promoted in" in done.err
    with pytest.raises(UsageError):
        roll_back(config)
    with Store.open(config, read_only=True) as store:
        kept = store.query(
            "SELECT gates, data, rolled_back_at IS NULL FROM promotions ORDER BY ALL"
        )
    data = str(tmp_path / "test.parquet")
    assert kept == [(["accuracy>=0"], data, False), (["macro_f1>=0"], data, False)]


def test_a_gate_that_fails_promotes_nothing(run, promoted, tiny_model, tmp_path):
    done = run("models", "promote", tiny_model, "--data", "test.parquet", *FP32,
               "--gate", "accuracy>=0", "--gate", "accuracy>=1.01")  # fmt: skip
    assert done.code == 3
    assert "gate failed: accuracy is " in done.err
    config = StoreConfig(path=tmp_path / "finsent.duckdb")
    assert resolve_promoted_model(ModelConfig(), config).model == str(promoted)


def test_by_default_a_model_must_be_no_worse_than_the_one_it_replaces(run, promoted, tmp_path):
    done = run("models", "promote", "model", "--data", "test.parquet", *FP32, "-o", "kept")
    assert done.code == 0, done.err
    assert "passed no-regression" in done.out
    assert (tmp_path / "kept" / "metrics.json").exists()
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as plain:
        [(models,)] = plain.execute("SELECT list(model) FROM promotions").fetchall()
        [(recorded,)] = plain.execute("SELECT count(*) FROM evaluations").fetchall()
    assert models == [str(promoted)] * 2
    assert recorded == 2, "the one that it replaces was measured beside it"


def test_a_promoted_model_that_changed_is_not_used(run, promoted):
    vocabulary = promoted / "tokenizer.json"
    vocabulary.write_text(vocabulary.read_text() + " ")
    for command in (["score", "feed.parquet"], ["score", "feed.parquet", "--dry-run"]):
        done = run(*command)
        assert done.code == 78
        assert f"the promoted model {promoted} has changed since: promote it again, or" in done.err
    shutil.rmtree(promoted)
    done = run("score", "feed.parquet")
    assert done.code == 78
    assert f"the promoted model {promoted} cannot be used (" in done.err
    assert run("models", "rollback").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["promoted", "--data", "test.parquet"], 2, "name the model to promote"),
        (["model", "--data", "test.parquet", "--gate", "x"], 2, "--gate 'x': write METRIC"),
        (["model", "--data", "gone.parquet"], 66, "gone.parquet does not exist"),
        (["nowhere", "--data", "test.parquet", "--gate", "ece<1"], 66, "no model 'nowhere'"),
        (["model"], 2, "Missing option '--data'"),
    ],
)
def test_one_line_says_what_is_wrong(run, model, tmp_path, arguments, code, message):
    done = run("models", "promote", *arguments)
    assert done.code == code
    assert message in done.err
    assert not (tmp_path / "finsent.duckdb").exists()


def test_without_a_store_or_a_promotion_it_is_mini(tmp_path):
    store = StoreConfig(path=tmp_path / "s.duckdb")
    assert resolve_promoted_model(ModelConfig(), None).model == "mini"
    assert resolve_promoted_model(ModelConfig(), store).model == "mini"
    duckdb.connect(store.path).close()
    assert resolve_promoted_model(ModelConfig(), store).model == "mini"
    with Store.open(store) as opened:
        # A store from before there were promotions.
        opened.connection.execute("DROP TABLE promotions; UPDATE store_info SET schema_version = 1")
    assert resolve_promoted_model(ModelConfig(), store).model == "mini"
    assert resolve_promoted_model(ModelConfig(model="x"), store).model == "x"


def test_no_gate_at_all_is_refused(tmp_path):
    with pytest.raises(UsageError, match="give a --gate"):
        promote(PromoteConfig(model=ModelConfig(model="mini"), data=tmp_path / "x", gates=()))


def test_a_model_on_a_damaged_base_is_a_configuration_error(promoted, tmp_path):
    (promoted / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="cannot be used"):
        resolve_promoted_model(ModelConfig(), StoreConfig(path=tmp_path / "finsent.duckdb"))
