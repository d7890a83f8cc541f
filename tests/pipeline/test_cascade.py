"""`score --first`: a small model answers what it is sure of, the large one the rest."""

import json
import re
import shlex
import shutil
import signal

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finsent_batch as fb
from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.errors import InterruptedRunError, UsageError
from finsent_batch.labels import PROBABILITY_COLUMNS
from finsent_batch.models.directory import open_model
from finsent_batch.pipeline.score import score
from finsent_batch.progress import StopRequest
from finsent_batch.store.store import Store

from ..helpers import stores

ROWS = 60
ANSWER = ["headline", "sentiment", *PROBABILITY_COLUMNS, "score_status", "model_fingerprint"]


def sureness(frame):
    return frame.select(pl.max_horizontal(PROBABILITY_COLUMNS)).to_series()


class Feed:
    """A feed that both models have scored alone, into one store."""

    def __init__(self, folder, small, large, headlines):
        self.folder, self.small, self.large = folder, str(small), str(large)
        rows = [*headlines, *headlines[:9], "", None]
        pl.DataFrame({"headline": rows}).write_parquet(folder / "feed.parquet")
        self.of_small, _ = self.scored(self.small)
        self.of_large, _ = self.scored(self.large)

    def scored(self, model, **options):
        config = ScoreConfig(
            input=str(self.folder / "feed.parquet"),
            output=self.folder / "out.parquet",
            model=ModelConfig(model=model),
            store=StoreConfig(path=self.folder / "store.duckdb"),
            **options,
        )
        summary = score(config)
        return pl.read_parquet(self.folder / "out.parquet"), summary


@pytest.fixture(scope="module")
def feed(tmp_path_factory, tiny_model, causal_base, wordy):
    return Feed(tmp_path_factory.mktemp("cascade"), tiny_model, causal_base(), wordy(ROWS))


@settings(max_examples=8)
@given(data=st.data())
def test_for_any_threshold_a_row_has_the_firsts_answer_where_it_is_sure(feed, data):
    exact = st.sampled_from(sureness(feed.of_small).drop_nulls().to_list())
    sure = data.draw(st.floats(0.34, 1) | exact.map(lambda p: max(p, 0.34)))
    found, summary = feed.scored(feed.large, first=feed.small, sure=sure)
    taken = sureness(feed.of_small) >= pl.Series([np.float32(sure)])
    expected = feed.of_small.with_columns(
        pl.when(taken).then(pl.col(name)).otherwise(feed.of_large[name]).alias(name)
        for name in ANSWER
    )
    assert found.select(ANSWER).equals(expected.select(ANSWER))
    cascade = summary.cascade
    assert (cascade["first_scored"], cascade["second_scored"]) == (0, 0)
    assert cascade["first_rows"] == taken.sum()
    assert cascade["first_rows"] + cascade["second_rows"] == ROWS + 9
    assert summary.rows["reused"] == ROWS + 9


def middle(frame):
    return float(sureness(frame).median())


def test_the_large_model_scores_only_what_the_small_one_is_not_sure_of(feed, run, tmp_path):
    sure = middle(feed.of_small)
    unsure = (sureness(feed.of_small.unique("headline")) < np.float32(sure)).sum()
    options = ("score", feed.folder / "feed.parquet", "-o", "out.parquet", "--model", feed.large,
               "--first", feed.small)  # fmt: skip
    plan = run(*options, "--sure", sure, "--dry-run", "--summary", "json").json
    assert (plan["already_scored"], plan["to_score"]) == (0, ROWS)
    assert plan["first"] | {"expected": unsure, "sure": sure} == {
        "model": feed.small, "sure": sure, "answers": 0, "unsure": 0, "to_score": ROWS,
        "expected": unsure,
    }  # fmt: skip
    done = run(*options, "--sure", sure, "--summary", "json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert found["cascade"]["sure_from"] == "given"
    assert (found["cascade"]["first_scored"], found["cascade"]["second_scored"]) == (ROWS, unsure)
    assert found["rows"]["unique_scored"] == ROWS
    assert (found["rows"]["reused"], found["rows"]["duplicate"]) == (9, 9)
    assert found["path"] == "packed"
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        counts = dict(store.execute(
            "SELECT model, count(*) FROM scores JOIN models USING (model_fingerprint) GROUP BY 1"
        ).fetchall())  # fmt: skip
    assert counts == {feed.small: ROWS, feed.large: unsure}
    plan = run(*options, "--sure", sure, "--dry-run").out
    assert f"first {ROWS - unsure} answered by {feed.small}, at least" in plan
    assert f"{unsure} not; expected of the other model: 0 headlines\nto score: 0 headlines" in plan
    again = run(*options, "--sure", sure)
    assert "(0 headlines scored, " in again.out
    assert f"{feed.small} answers {found['cascade']['first_rows']} rows" in again.out
    assert run("report", "-o", "report.html").code == 0
    page = (tmp_path / "report.html").read_text()
    assert f"answered by {feed.small}" in page
    assert f"{found['cascade']['second_rows']} rows" in page
    lower = run(*options, "--sure", 0.34, "--summary", "json").json["cascade"]
    assert (lower["first_scored"], lower["second_scored"]) == (0, 0)
    assert run("store", "verify").code == 0


def test_a_model_that_has_nothing_to_score_is_not_loaded(feed, run, tmp_path, monkeypatch):
    from finsent_batch.pipeline import score_stage

    loaded, load = [], score_stage.load_scorer

    def noted(model, **options):
        loaded.append(model.spec.name)
        return load(model, **options)

    monkeypatch.setattr(score_stage, "load_scorer", noted)
    options = ("score", feed.folder / "feed.parquet", "-o", "out.parquet", "--model", feed.large,
               "--first", feed.small)  # fmt: skip
    assert run(*options, "--sure", 0.34).code == 0
    assert loaded == [feed.small]
    assert run(*options, "--sure", 1).code == 0
    assert loaded == [feed.small, feed.large]
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found["model_fingerprint"].drop_nulls().unique().len() == 1


def test_the_large_model_answers_what_the_small_one_has_no_numbers_for(feed, run, monkeypatch):
    from finsent_batch.pipeline import score_stage

    load = score_stage.load_scorer

    def failing(model, **options):
        scorer = load(model, **options)
        whole = scorer.score_tokenized

        def without_one(tokenized):
            for batch in whole(tokenized):
                batch.probabilities[0] = np.nan
                yield batch

        if model.spec.name == feed.small:
            monkeypatch.setattr(scorer, "score_tokenized", without_one)
        return scorer

    monkeypatch.setattr(score_stage, "load_scorer", failing)
    done = run("score", feed.folder / "feed.parquet", "-o", "out.parquet", "--model", feed.large,
               "--first", feed.small, "--sure", 0.34, "--summary", "json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["rows"]["invalid"] == done.json["quarantined"] == 0
    assert done.json["cascade"]["second_scored"] == ROWS - done.json["cascade"]["first_scored"] > 0


def test_another_threshold_publishes_anew_and_the_same_does_not(feed, run, tmp_path):
    options = ("score", feed.folder / "feed.parquet", "-o", "out.parquet", "--skip-unchanged",
               "--summary", "json", "--model", feed.large)  # fmt: skip
    first = ("--first", feed.small, "--sure")

    def read(*more):
        done = run(*options, *more)
        assert done.code == 0, done.err
        return done.json["files"]["read"], done.json["model_fingerprint"]

    fingerprints = {read(*more)[1] for more in ((), (*first, 0.5), (*first, 0.6))}
    assert len(fingerprints) == 3
    assert read(*first, 0.6)[0] == 0
    assert read(*first, 0.5)[0] == 1
    assert read()[0] == 1
    assert len({run_["model"] for run_ in run("runs", "--format", "json").json}) == 3


def test_a_night_that_was_held_back_is_published_as_the_cascade_answered(feed, run, tmp_path):
    sure = middle(feed.of_small)
    options = ("score", feed.folder / "feed.parquet", "-o", "out.parquet", "--model", feed.large,
               "--first", feed.small, "--sure", sure, "--summary", "json")  # fmt: skip
    held = run(*options, "--gate", "rows>=1000")
    assert held.code == 3, held.err
    assert held.json["cascade"]["first_rows"] > 0
    done = run("score", "--publish-anyway", held.json["run_id"], "--summary", "json")
    assert done.code == 0, done.err
    assert done.json["model_fingerprint"] == held.json["model_fingerprint"]
    assert done.json["rows"]["unique_scored"] == 0
    assert pl.read_parquet(tmp_path / "out.parquet")["model_fingerprint"].n_unique() == 3


def test_compacting_keeps_both_scores_of_a_headline_that_a_cascade_keeps(feed, run, tmp_path):
    pl.DataFrame({"headline": ["Oil falls"]}).write_csv(tmp_path / "feed.csv")

    def scored(*options):
        done = run("score", "feed.csv", "-o", "out.csv", "--summary", "json", *options)
        assert done.code == 0, done.err
        return done.json["rows"]["unique_scored"]

    cascade = ("--model", feed.large, "--first", feed.small, "--sure", 1)
    assert scored("--model", feed.small) == 1
    assert scored(*cascade) == 1
    done = run("store", "compact", "--keep-runs", 1)
    assert "0 runs and 0 scores deleted" in done.out  # the first run's is the first model's
    assert run("store", "verify").code == 0
    assert scored(*cascade) == 0
    assert scored("--model", feed.large) == 0
    # None of the runs that are left is a cascade, and none scored anything.
    assert "3 runs and 2 scores deleted" in run("store", "compact", "--keep-runs", 1).out
    assert scored("--model", feed.small) == 1
    assert scored(*cascade) == 1


def test_a_scorer_of_frames_keeps_both_models_loaded(feed):
    frame = pl.DataFrame({"headline": feed.of_small["headline"][:ROWS]})
    sure = middle(feed.of_small)
    with fb.Scorer(feed.large, first=feed.small, sure=sure) as scorer:
        found = scorer.score_frame(frame)
        before = [loaded for _, loaded in scorer._loaded]
        assert len(before) == 2
        scorer.score_frame(pl.DataFrame({"headline": ["Oil falls", "Bank cuts jobs"]}))
        assert [loaded for _, loaded in scorer._loaded] == before
    taken = sureness(feed.of_small)[:ROWS] >= pl.Series([np.float32(sure)])
    small, large = (frame["model_fingerprint"][0] for frame in (feed.of_small, feed.of_large))
    assert found["model_fingerprint"].to_list() == [small if yes else large for yes in taken]


def test_killed_while_the_large_model_scores_it_goes_on(
    run_process, tmp_path, tiny_model, causal_base, wordy
):
    pl.DataFrame({"headline": wordy(ROWS)}).write_parquet(tmp_path / "feed.parquet")

    def night(failpoint=""):
        options = ("--max-batch-tokens", "64", "--commit-seconds", "0", "--summary", "json")
        return run_process(
            "score", "feed.parquet", "-o", "out.parquet", "--model", causal_base(), *options,
            "--first", tiny_model, "--sure", "0.9",
            env={"FINSENT_FAILPOINT": failpoint} if failpoint else {},
        )  # fmt: skip

    def committed():
        with duckdb.connect(stores.committed(tmp_path / "finsent.duckdb"), read_only=True) as store:
            [(scores, distinct)] = store.execute(
                "SELECT count(*), count(DISTINCT (headline_key, model_fingerprint)) FROM scores"
            ).fetchall()
        assert scores == distinct
        return scores

    done = night()
    assert done.code == 0, done.err
    expected = pl.read_parquet(tmp_path / "out.parquet").drop("run_id", "scored_at")
    whole = json.loads(done.out)["cascade"]
    (tmp_path / "out.parquet").unlink()
    stores.remove_store(tmp_path / "finsent.duckdb")
    before = 0
    for place in ("load_model:kill:2", "committed:kill:1", "in_commit:kill:2"):
        assert night(place).code == -9
        assert not (tmp_path / "out.parquet").exists()
        assert committed() > before
        before = committed()
        assert before >= whole["first_scored"]
    done = night()
    assert done.code == 0, done.err
    assert pl.read_parquet(tmp_path / "out.parquet").drop("run_id", "scored_at").equals(expected)
    again = json.loads(done.out)["cascade"]
    assert committed() == whole["first_scored"] + whole["second_scored"]
    assert (again["first_scored"], again["second_scored"]) == (0, committed() - before)
    assert again["second_scored"] > 0


def test_reviewers_judge_the_cascade_as_one_model(feed, run, tmp_path):
    of_store = ("--store", feed.folder / "store.duckdb")
    found, summary = feed.scored(feed.large, first=feed.small, sure=middle(feed.of_small))
    assert run(*of_store, "review", "export", "-o", "sample.csv", "--rows", 1000).code == 0
    sheet = pl.read_csv(tmp_path / "sample.csv").with_columns(
        label=pl.lit("negative"), reviewer=pl.lit("Anna")
    )
    sheet.write_csv(tmp_path / "sample.csv")
    done = run(*of_store, "review", "import", "sample.csv")
    assert done.code == 0, done.err
    shown = run(*of_store, "review", "show", "--only", "accuracy", "--format", "json").json
    [row] = [r for r in shown if r["model_fingerprint"] == summary.model_fingerprint]
    published = found.drop_nulls("sentiment").unique("headline")
    assert (row["model"], row["headlines"]) == (summary.model, ROWS)
    right = published.filter(sentiment="negative")["headline"].to_list()
    assert set(published["sentiment"]) > {"negative"}
    answers = run(*of_store, "query", "reviews", "--param", f"model={summary.model}",
                  "--format", "json").json  # fmt: skip
    assert sorted(r["headline"] for r in answers if r["is_right"]) == sorted(right)
    assert len(answers) == ROWS


def test_a_sample_is_drawn_of_what_the_cascade_labelled(feed, run, tmp_path):
    sure = middle(feed.of_small)
    unsure = sureness(feed.of_small.unique("headline")) < np.float32(sure)

    def drawn(model):
        shutil.copy(feed.folder / "store.duckdb", tmp_path / "s.duckdb")
        done = run("--store", "s.duckdb", "review", "export", "-o", "sample.csv", "--overwrite",
                   "--rows", 1000, "--show-labels", "--model", model)  # fmt: skip
        assert done.code == 0, done.err
        headline = pl.col("headline").str.strip_prefix("'")
        sample = pl.read_csv(tmp_path / "sample.csv").select(headline, "model_label")
        return dict(sample.iter_rows())

    found, summary = feed.scored(feed.large, first=feed.small, sure=sure)
    labels = dict(found.drop_nulls("sentiment").select("headline", "sentiment").iter_rows())
    assert drawn(summary.model) == drawn(summary.model_fingerprint[:12]) == labels
    # The large model's rows that the small one is sure of are not the cascade's.
    feed.scored(feed.large)
    assert len(drawn(summary.model)) == unsure.sum() < ROWS


def test_the_first_may_be_the_promoted_model(feed, run, tmp_path):
    path, sure = feed.folder / "store.duckdb", middle(feed.of_small)
    promotion = {
        "promoted_at": "2026-01-01", "model": feed.small,
        "weights": open_model(feed.small).weights_for("auto", "cpu"),
        "model_fingerprint": feed.of_small["model_fingerprint"][0],
    }  # fmt: skip
    with Store.open(StoreConfig(path=path)) as store:
        store.insert("promotions", promotion)
    try:
        _, summary = feed.scored(feed.large, first="promoted", sure=sure)
        models = ("--model", feed.large, "--first", "promoted", "--sure", sure)
        plan = run("--store", path, "score", feed.folder / "feed.parquet", *models, "--dry-run",
                   "--summary", "json")  # fmt: skip
    finally:
        with Store.open(StoreConfig(path=path)) as store:
            store.query("DELETE FROM promotions")
    assert summary.cascade["first"] == plan.json["first"]["model"] == feed.small
    _, named = feed.scored(feed.large, first=feed.small, sure=sure)
    assert summary.model_fingerprint == named.model_fingerprint
    pl.DataFrame({"headline": ["Oil falls"], "label": ["negative"]}).write_csv(tmp_path / "l.csv")
    done = run("evaluate", "--agreement", 0.9, "--data", "l.csv", "-o", "report")
    assert done.code == 2
    assert "--agreement is for the model named by --first" in done.err
    done = run("evaluate", "--first", "promoted", "--data", "l.csv", "-o", "report")
    assert done.code == 78
    assert "--first mini is the model itself" in done.err


def test_a_run_that_is_stopped_in_the_first_phase_says_what_was_scored(feed, tmp_path):
    pl.DataFrame({"headline": ["Oil falls", "Bank cuts jobs"]}).write_csv(tmp_path / "new.csv")
    stop = StopRequest()
    config = ScoreConfig(
        input=str(tmp_path / "new.csv"), model=feed.large, first=feed.small, sure=1.0,
        store=feed.folder / "store.duckdb", engine="local",
    )  # fmt: skip

    def stopping(stage, done, total, note=""):
        if stage == "score":
            stop.signal = signal.SIGTERM

    with pytest.raises(InterruptedRunError) as caught:
        score(config, progress=stopping, stop=stop)
    summary = caught.value.summary
    assert (summary.cascade["first_scored"], summary.cascade["second_scored"]) == (2, 0)
    assert summary.rows["unique_scored"] == 2


def test_what_cannot_be_meant_is_refused(feed, run, tmp_path):
    def refused(code, *options):
        done = run("score", feed.folder / "feed.parquet", *options)
        assert (done.code, done.out) == (code, ""), done.err
        return done.err

    assert "name one with --first" in refused(2, "--sure", 0.9)
    for sure in ("0.3", "1.01", "nan", "sure"):
        assert "'--sure'" in refused(2, "--first", "mini", "--model", feed.small, "--sure", sure)
    for options in ({"sure": 0.2, "first": "mini"}, {"sure": "0.9", "first": "mini"}, {"sure": 1}):
        with pytest.raises(UsageError):
            score(ScoreConfig(input="feed.parquet", **options))
    same = refused(78, "--first", feed.small, "--model", feed.small, "--sure", 0.9)
    assert "is the model itself: name a larger --model" in same
    done = refused(78, "--first", feed.small, "--model", feed.large)
    assert "run finsent-batch evaluate --model" in done
    (tmp_path / "c.toml").write_text('[score]\nsure = "auto"\nfirst = "mini"\n')
    shown = run("--config", "c.toml", "config", "show", "score", "--format", "json").json
    assert {row["option"]: row["value"] for row in shown}["score.sure"] == "auto"
    (tmp_path / "c.toml").write_text("[score]\nsure = 0.2\n")
    assert run("--config", "c.toml", "score", "x.csv").code == 78


def test_auto_takes_the_threshold_that_an_evaluation_found(feed, run, tmp_path):
    models = ("--model", feed.large, "--first", feed.small)

    def evaluated(answers, *options):
        labelled = answers.drop_nulls("sentiment").select("headline", label="sentiment")
        labelled.write_parquet(tmp_path / "valid.parquet")
        done = run("evaluate", *models, "--data", "valid.parquet", "-o", "report", "--overwrite",
                   *options)  # fmt: skip
        assert done.code == 0, done.err
        return done.out, json.loads((tmp_path / "report" / "metrics.json").read_text())["cascade"]

    out, found = evaluated(feed.of_large, "--agreement", 0.7)
    assert f"where at least {found['sure']:g} sure answers" in out
    said = pl.read_parquet(tmp_path / "report" / "predictions.parquet")
    taken = sureness(said.select(pl.col("^first_p_.*$").name.map(lambda n: n[6:])))
    taken = taken >= pl.Series([np.float32(found["sure"])])
    [at] = [row for row in found["thresholds"] if row["sure"] == found["sure"]]
    agreeing = (said["first_sentiment"] == said["sentiment"]) | ~taken
    assert at["agreement"] == agreeing.mean() >= 0.7
    page = (tmp_path / "report" / "report.html").read_text()
    assert 'id="cascade"' in page
    assert f"{found['sure']:g} is the lowest threshold" in page
    options = ("score", feed.folder / "feed.parquet", *models, "--summary", "json")
    auto = run(*options, "-o", "auto.parquet").json
    assert (auto["cascade"]["sure"], auto["cascade"]["sure_from"]) == (found["sure"], "evaluation")
    given = run(*options, "--sure", found["sure"], "-o", "given.parquet").json
    assert given["model_fingerprint"] == auto["model_fingerprint"]
    assert auto["cascade"]["first_rows"] > 0
    out, found = evaluated(feed.of_small)
    assert found["sure"] is None
    assert "at no threshold" in out
    done = run(*options, "--sure", "auto")
    assert (done.code, done.out.count("\n")) == (78, 1)
    assert "found no threshold" in done.err
    assert run(*options[:-2], "--sure", "auto", "--dry-run").code == 78


def test_the_evaluation_that_is_advised_is_of_what_was_asked_for(feed, run, tmp_path):
    labelled = feed.of_large.drop_nulls("sentiment").select("headline", label="sentiment")
    labelled.write_parquet(tmp_path / "valid.parquet")
    options = ("score", feed.folder / "feed.parquet", "-o", "out.parquet", "--model", feed.large,
               "--first", feed.small, "--weights", "bf16", "--store", "a store.duckdb")  # fmt: skip
    done = run(*options)
    assert (done.code, done.err.count("\n")) == (78, 1)
    advice = re.search(r"run finsent-batch (.*), or give --sure a number", done.err)
    assert advice is not None, done.err
    command = advice[1].replace("LABELLED", "valid.parquet").replace("FOLDER", "report")
    assert run(*shlex.split(command)).code == 0
    done = run(*options)
    assert done.code == 0 or "found no threshold" in done.err


def test_a_first_model_with_other_labels_is_refused(feed, run, tmp_path, tiny_model):
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    config = json.loads((other / "config.json").read_text())
    config["id2label"] = {"0": "good", "1": "bad", "2": "so-so"}
    (other / "config.json").write_text(json.dumps(config))
    options = ("score", feed.folder / "feed.parquet", "--model", feed.large, "--sure", 0.9)
    done = run(*options, "--first", other)
    assert done.code == 78
    assert "models describe" in done.err
    written = run("models", "describe", other, "--model-labels",
                  "good=positive,bad=negative,so-so=drop", "--write")  # fmt: skip
    assert written.code == 0, written.err
    done = run(*options, "--first", other)
    assert done.code == 78
    assert "has no output for neutral: name another --first" in done.err
