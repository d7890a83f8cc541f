"""What the tests of the Ray engine share: a real cluster of one node, a scorer without a model."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finsent_batch.config import ScoreConfig, StoreConfig
from finsent_batch.pipeline.engines.ray_cluster import load_ray
from finsent_batch.scorers.base import ScoredBatch, Tokenized

from .processes import family, until

BIN = Path(sys.executable).parent
OBJECT_STORE = 80_000_000
"""Bytes, about the least that Ray takes. It may not spill: what lies there shows."""


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of one node with two cores."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: sockets lie in it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        BIN / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--num-gpus=0",
        "--include-dashboard=false", f"--temp-dir={folder}",
        f"--object-store-memory={OBJECT_STORE}",
        '--system-config={"automatic_object_spilling_enabled": false}',
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
def on_ray(wordy, tmp_path):
    """Write a feed of so many headlines; gives the settings that score it on Ray."""

    def make(count, **given):
        feed = tmp_path / "feed.parquet"
        pl.DataFrame({"headline": wordy(count)}).write_parquet(feed)
        store = StoreConfig(path=tmp_path / "finsent.duckdb")
        return ScoreConfig(input=str(feed), store=store, engine="ray", **given)

    return make


class AtOnce:
    """A scorer without a model that answers at once."""

    batching, near_tie = "at once", None

    def tokenize(self, texts):
        return Tokenized.of([[len(t)] for t in texts], np.zeros(len(texts), np.bool_))

    def score_tokenized(self, tokenized):
        n = len(tokenized.sizes)
        yield ScoredBatch(
            positions=np.arange(n),
            probabilities=np.full((n, 3), 1 / 3, np.float32),
            truncated=tokenized.truncated,
            tokens=n,
        )


def by_value(module: str) -> None:
    """Let Ray's processes, which cannot import the tests, have a test module's classes whole."""
    pickle = load_ray(locked=False).cloudpickle
    for name in (module, __name__):
        pickle.register_pickle_by_value(sys.modules[name])


def without_waiting(said: str) -> str:
    """Return stderr without the line that only a slow machine's run says."""
    lines = said.splitlines(keepends=True)
    return "".join(line for line in lines if "no actor has answered yet" not in line)
