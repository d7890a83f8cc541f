"""Real Ray on this machine: a cluster that runs join, with two actors on CPU cores."""

import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from finsent_batch.config import StoreConfig
from finsent_batch.models.registry import near_tie
from finsent_batch.pipeline.engines import ray as ray_engine
from finsent_batch.pipeline.engines import ray_pool
from finsent_batch.pipeline.engines.ray_actor import ScoringActor
from finsent_batch.pipeline.engines.ray_cluster import ray_installed
from finsent_batch.pipeline.score import score
from finsent_batch.store.store import Store

from ...helpers.processes import until
from ...helpers.ray_nodes import (
    OBJECT_STORE,
    AtOnce,
    by_value,
    cluster,
    on_ray,
    without_waiting,
)

__all__ = ["cluster", "on_ray"]  # fixtures
if not ray_installed():
    pytest.skip("Ray is not installed", allow_module_level=True)
TWO = ("--engine", "ray", "--actors", "2")


@pytest.fixture
def joined(run, cluster):
    """Score on the cluster, in this process."""
    return lambda *arguments: run("score", *arguments, *TWO, "--ray-address", cluster)


def test_a_thousand_real_headlines_have_the_local_engine_s_labels(run, joined, data, tmp_path):
    night = sorted((data / "feeds" / "nightly").glob("*.parquet"))[0]
    feed = pl.read_parquet(night).unique("headline", maintain_order=True).head(1000)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    feed.head(400).write_parquet(tmp_path / "in" / "a.parquet")
    feed.tail(600).write_parquet(tmp_path / "in" / "deep" / "b.parquet")
    done = run("--store", "local.duckdb", "score", "in", "-o", "local", "--engine", "local")
    assert done.code == 0, done.err
    done = joined("in", "-o", "ray", "--summary", "json")
    assert done.code == 0, done.err
    assert without_waiting(done.err) == ""
    assert done.json["rows"]["unique_scored"] == 1000
    assert done.json["engine"] == "ray"
    assert done.json["actors"] in (1, 2), "on a busy machine one may come when all is done"
    for name in ("a.scored.parquet", "deep/b.scored.parquet"):
        here = pl.read_parquet(tmp_path / "local" / name)
        there = pl.read_parquet(tmp_path / "ray" / name)
        computed = ["sentiment_score", "p_negative", "p_neutral", "p_positive"]
        again = ["run_id", "scored_at"]
        assert there.drop(*computed, *again).equals(here.drop(*computed, *again))
        # Other batches: int8 rounds a little differently.
        assert (there["p_positive"] - here["p_positive"]).abs().max() < 0.02
    assert run("score", "in", "-o", "ray", *TWO).code == 0, "nothing to score: no Ray is started"


def test_a_cascade_asks_its_models_in_turn(joined, run, tiny_model, causal_base, feed, tmp_path):
    models = ("--model", causal_base(), "--first", tiny_model, "--sure", "0.7")
    done = joined("feed.parquet", "-o", "ray.parquet", *models, "--summary", "json")
    assert done.code == 0, done.err
    assert done.json["engine"] == "ray"
    cascade = done.json["cascade"]
    assert 0 < cascade["second_scored"] < cascade["first_scored"] == 8
    here = run("score", "feed.parquet", "-o", "here.parquet", *models, "--summary", "json")
    assert here.json["rows"]["unique_scored"] == 0
    assert here.json["model_fingerprint"] == done.json["model_fingerprint"]
    there, here = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("ray", "here"))
    assert there.equals(here)
    with Store.open(StoreConfig(path=tmp_path / "finsent.duckdb"), read_only=True) as store:
        for weights, fingerprint in store.query("SELECT weights, model_fingerprint FROM models"):
            kept = near_tie(store, fingerprint)
            assert (kept is not None) == (weights == "int8"), "what actors measured is kept"


def test_a_model_that_a_node_cannot_load_is_named(joined, tiny_model, feed, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "torn")
    weights = load_file(tmp_path / "torn" / "model.safetensors")
    weights.pop("classifier.weight")
    save_file(weights, tmp_path / "torn" / "model.safetensors", {"format": "pt"})
    done = joined("feed.parquet", "--model", "torn", "--weights", "fp32")
    assert done.code == 69, done.err
    assert done.err.count("\n") == 1
    assert f"cannot be loaded on node {socket.gethostname()}" in done.err
    assert "or has them in another shape (classifier.weight)" in done.err


class Buggy(ScoringActor):
    """Fails in a way that nobody foresaw."""

    def load(self, assignment):
        scorer = AtOnce()
        scorer.score_tokenized = lambda _: 1 / 0
        return scorer


def test_a_bug_on_an_actor_is_shown_whole(cluster, on_ray, monkeypatch):
    by_value(__name__)
    monkeypatch.setattr(ray_pool, "ScoringActor", Buggy)
    config = on_ray(50, ray_address=cluster)
    with pytest.raises(RuntimeError, match=rf"on node {socket.gethostname()}: Traceback") as error:
        score(config)
    assert "score_tokenized = lambda" in str(error.value)
    assert "ZeroDivisionError" in str(error.value)


class Instant(ScoringActor):
    """Has no model."""

    def load(self, assignment):
        return AtOnce()


def test_the_object_store_never_holds_more_than_a_few_blocks(cluster, on_ray, monkeypatch):
    """Of 42 MB of headlines 8 MB are there at one time: two blocks of 2 MB for each actor."""
    by_value(__name__)
    monkeypatch.setattr(ray_pool, "ScoringActor", Instant)
    config = on_ray(1, ray_address=cluster, commit_seconds=0, store_text=False)
    duckdb.sql(
        "SELECT i || repeat(' oil', 1000) AS headline FROM range(10_500) t(i)"
    ).write_parquet(config.input)
    used = []

    def in_use():
        import ray

        return OBJECT_STORE - ray.available_resources().get("object_store_memory", 0)

    def progress(stage, done, total):
        if stage != "score":
            return
        if not used:  # does it show what is there?
            import ray

            held = ray.put(bytes(30_000_000))
            until(lambda: in_use() >= 30_000_000)
            del held
            until(lambda: in_use() < 30_000_000)
        used.append(in_use())

    assert score(config, progress=progress).rows["unique_scored"] == 10_500
    assert len(used) > 20
    assert max(used) < 20_000_000
    with duckdb.connect(config.store.path, read_only=True) as store:
        sql = "SELECT count(*), count(DISTINCT headline_key) FROM scores"
        assert store.execute(sql).fetchall() == [(10_500, 10_500)]


def test_actors_are_fed_while_scores_are_committed(cluster, on_ray, monkeypatch):
    by_value(__name__)
    monkeypatch.setattr(ray_pool, "ScoringActor", Instant)
    monkeypatch.setattr(ray_engine, "ENOUGH", 100)
    answered, groups = [], []
    finish = ray_pool.ActorPool._finish

    def counted(pool, call):
        found = finish(pool, call)
        if found is not None:
            answered.append(found.start)
        return found

    def commit(store, group, *rest):
        groups.append(len(group))
        if len(groups) == 1:
            until(lambda: len(answered) > len(group))
        committed(store, group, *rest)

    committed = ray_engine._commit_results
    monkeypatch.setattr(ray_pool.ActorPool, "_finish", counted)
    monkeypatch.setattr(ray_engine, "_commit_results", commit)
    config = on_ray(2000, ray_address=cluster, commit_seconds=3600)
    assert score(config).rows["unique_scored"] == 2000
    assert len(groups) > 2, "enough of them are committed before their time"


class DiesOnce(Instant):
    """Is killed when it has scored a block, before anybody knows."""

    died = ""
    """A file that is there once one has."""

    def score(self, start, headlines):
        scored = super().score(start, headlines)
        with suppress(FileExistsError):
            Path(self.died).touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        return scored


def test_blocks_of_an_actor_that_dies_are_given_again(cluster, on_ray, tmp_path, monkeypatch):
    by_value(__name__)
    monkeypatch.setattr(ray_pool, "ScoringActor", DiesOnce)
    monkeypatch.setattr(DiesOnce, "died", str(tmp_path / "died"))
    config = on_ray(2000, ray_address=cluster)
    assert score(config).rows["unique_scored"] == 2000
    assert (tmp_path / "died").exists()
    with duckdb.connect(config.store.path, read_only=True) as store:
        sql = "SELECT count(*), count(DISTINCT headline_key), count(headline) FROM scores"
        assert store.execute(sql).fetchall() == [(2000, 2000, 2000)]


class DiesOfShortOnes(ScoringActor):
    """The kernel would do so where a block takes too much memory."""

    committed = ""
    """A file that is there once what came before is in the store."""

    def load(self, assignment):
        return AtOnce()

    def score(self, start, headlines):
        if max(map(len, headlines.to_pylist())) < 40:
            while not Path(self.committed).exists():
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(start, headlines)


def test_a_block_that_kills_every_actor_ends_the_run(joined, wordy, tmp_path, monkeypatch):
    by_value(__name__)
    monkeypatch.setattr(ray_pool, "ScoringActor", DiesOfShortOnes)
    monkeypatch.setattr(ray_pool, "_RETRIES", 1)
    monkeypatch.setattr(DiesOfShortOnes, "committed", str(tmp_path / "committed"))
    commit = ray_engine._commit_results

    def told(*given):
        commit(*given)
        (tmp_path / "committed").touch()

    monkeypatch.setattr(ray_engine, "_commit_results", told)
    pl.DataFrame({"headline": wordy(500)}).write_parquet(tmp_path / "feed.parquet")
    done = joined("feed.parquet", "--model", "mini", "--commit-seconds", "0")
    assert done.code == 69, done.err
    assert done.err.count("\n") == 1
    assert "scoring on Ray failed (Actor" in done.err
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        [(kept,)] = store.execute("SELECT count(*) FROM scores").fetchall()
    assert 0 < kept < 500
