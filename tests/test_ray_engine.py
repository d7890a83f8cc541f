"""Real Ray on this machine: a cluster that runs join, with two actors on CPU cores."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from finsent_batch import ray_engine
from finsent_batch.config import ScoreConfig, StoreConfig
from finsent_batch.errors import InterruptedRunError
from finsent_batch.ray_actor import ScoringActor
from finsent_batch.ray_cluster import load_ray, ray_installed
from finsent_batch.runs import StopRequest
from finsent_batch.scorers import ScoredBatch, Tokenised
from finsent_batch.scoring import score

from .processes import family, until

if not ray_installed():
    pytest.skip("Ray is not installed", allow_module_level=True)
BIN = Path(sys.executable).parent
TWO = ("--engine", "ray", "--actors", "2")


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of one node with two cores."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: sockets lie in it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        BIN / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--num-gpus=0",
        "--include-dashboard=false", f"--temp-dir={folder}", "--object-store-memory=200000000",
    ]  # fmt: skip
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **quiet) as head:
        until(lambda: family(head.pid, "raylet/raylet"))
        yield f"127.0.0.1:{port}"
        for process in [*family(head.pid), head]:  # asked to end, it would take half a minute
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)


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
    assert done.err == ""
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


def test_a_model_that_a_node_cannot_load_is_named(joined, tiny_model, feed, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "torn")
    weights = load_file(tmp_path / "torn" / "model.safetensors")
    weights.pop("classifier.weight")
    save_file(weights, tmp_path / "torn" / "model.safetensors", {"format": "pt"})
    done = joined("feed.parquet", "--model", "torn", "--weights", "fp32")
    assert done.code == 69, done.err
    assert done.err.count("\n") == 1
    assert f"cannot be loaded on node {socket.gethostname()}" in done.err
    assert "lacks weights (classifier.weight" in done.err


class AtOnce:
    """A scorer without a model that answers at once."""

    path = "at once"

    def tokenise(self, texts):
        return Tokenised(ids=[[len(t)] for t in texts], truncated=np.zeros(len(texts), np.bool_))

    def score_tokenised(self, tokenised):
        n = len(tokenised.ids)
        yield ScoredBatch(
            positions=np.arange(n),
            probabilities=np.full((n, 3), 1 / 3, np.float32),
            truncated=tokenised.truncated,
            tokens=n,
        )


class Slow(ScoringActor):
    """Takes its time with each block."""

    def load(self, assignment):
        return AtOnce()

    def __call__(self, block):
        time.sleep(0.5)
        return super().__call__(block)


class Loading(ScoringActor):
    """Has a model that takes its time."""

    def load(self, assignment):
        time.sleep(600)


def ray_threads():
    """This process's threads that may ask Ray of something."""
    return [t for t in threading.enumerate() if t.name.startswith(("ray-", "StreamingExecutor"))]


def test_a_stop_while_the_model_loads_leaves_at_once(cluster, wordy, tmp_path, monkeypatch):
    load_ray(locked=False).cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_engine, "ScoringActor", Loading)
    pl.DataFrame({"headline": wordy(50)}).write_parquet(tmp_path / "feed.parquet")
    config = ScoreConfig(
        input=str(tmp_path / "feed.parquet"),
        store=StoreConfig(path=tmp_path / "finsent.duckdb"),
        engine="ray",
        ray_address=cluster,
    )
    stop, waiting = StopRequest(), threading.Event()

    def interrupt():
        until(lambda: len(ray_threads()) > 1)
        waiting.set()
        stop.signal = signal.SIGINT

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(InterruptedRunError) as interrupted:
        score(config, stop=stop)
    assert waiting.is_set()
    assert interrupted.value.exit_code == 130
    assert not ray_threads(), "none may ask a Ray that is gone"


def test_a_stop_keeps_what_has_arrived(cluster, wordy, tmp_path, monkeypatch):
    load_ray(locked=False).cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_engine, "ScoringActor", Slow)
    pl.DataFrame({"headline": wordy(5000)}).write_parquet(tmp_path / "feed.parquet")
    config = ScoreConfig(
        input=str(tmp_path / "feed.parquet"),
        store=StoreConfig(path=tmp_path / "finsent.duckdb"),
        engine="ray",
        ray_address=cluster,
        commit_seconds=0,
    )
    stop, told = StopRequest(), []

    def progress(stage, done, total):
        if stage == "score":
            told.append((done, total))
            stop.signal = signal.SIGTERM

    with pytest.raises(InterruptedRunError, match="what was scored is kept") as interrupted:
        score(config, progress=progress, stop=stop)
    assert not ray_threads(), "none may ask a Ray that is gone"
    assert interrupted.value.exit_code == 143
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        [(kept,)] = store.execute("SELECT count(*) FROM scores").fetchall()
    assert told[-1] == (kept, 5000)
    assert 0 < kept < 5000


class DiesOfShortOnes(ScoringActor):
    """The kernel would do so where a block takes too much memory."""

    def load(self, assignment):
        return AtOnce()

    def __call__(self, block):
        if max(map(len, block["headlines"][0].as_py())) < 40:
            time.sleep(1)  # what came before has been committed
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(block)


def test_a_block_that_kills_every_actor_ends_the_run(joined, wordy, tmp_path, monkeypatch):
    load_ray(locked=False).cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_engine, "ScoringActor", DiesOfShortOnes)
    monkeypatch.setattr(ray_engine, "_RETRIES", 1)
    pl.DataFrame({"headline": wordy(500)}).write_parquet(tmp_path / "feed.parquet")
    done = joined("feed.parquet", "--model", "mini", "--commit-seconds", "0")
    assert done.code == 69, done.err
    assert done.err.count("\n") == 1
    assert "scoring on Ray failed" in done.err
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        [(kept,)] = store.execute("SELECT count(*) FROM scores").fetchall()
    assert 0 < kept < 500
