"""Which engine a run takes, and what the Ray engine does that needs no Ray."""

import logging
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finsent_batch.config import ModelConfig
from finsent_batch.errors import ConfigError
from finsent_batch.models.directory import open_configured
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.pipeline import score_stage as scoring_stage
from finsent_batch.pipeline.engines import ray as ray_engine
from finsent_batch.pipeline.engines.local import CHUNK_HEADLINES
from finsent_batch.pipeline.engines.ray import SMALLEST_BLOCK, block_sizes
from finsent_batch.pipeline.engines.ray_actor import ActorConfig, BlockResult, ScoringActor
from finsent_batch.pipeline.engines.ray_cluster import Cluster, ray_installed
from finsent_batch.pipeline.score_stage import choose_engine
from finsent_batch.scorers.base import ScoredBatch

WITHOUT_RAY = """
import sys
sys.modules["ray"] = None
from finsent_batch.jobs.cli import run
raise SystemExit(run(sys.argv[1:]))
"""


def test_without_ray_one_line_says_how_to_install_it(feed, tiny_model, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, "score", "feed.parquet", "--model", tiny_model,
         "--weights", "fp32", "--engine", "ray"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 69, done.stderr
    assert done.stderr.count("\n") == 1
    assert "pip install 'finsent-batch[ray]'" in done.stderr
    assert not (tmp_path / "feed.scored.parquet").exists()


@pytest.mark.parametrize(
    ("gpus", "installed", "taken"), [(0, True, "local"), (1, True, "local"), (2, True, "ray"),
                                     (8, False, "local")]
)  # fmt: skip
def test_auto_takes_ray_for_several_gpus(monkeypatch, caplog, gpus, installed, taken):
    monkeypatch.setattr(scoring_stage, "gpu_count", lambda: gpus)
    monkeypatch.setattr(scoring_stage, "ray_installed", lambda: installed)
    monkeypatch.setattr(scoring_stage, "logger", logging.getLogger("elsewhere"))
    assert choose_engine("auto", "cuda") == taken
    assert ("8 GPUs, of which one is used" in caplog.text) == (gpus == 8)
    assert choose_engine("auto", "cpu") == "local"
    if installed:
        assert choose_engine("auto", "cpu", "10.0.0.1:6379") == "ray"
    assert choose_engine("local", "cuda") == "local"


@given(pending=st.integers(0, 2_000_000), actors=st.integers(1, 64))
def test_blocks_cover_the_plan_and_grow_smaller(pending, actors):
    blocks = list(block_sizes(pending, actors))
    ends = [start + count for start, count in blocks]
    assert [start for start, _ in blocks] == [0, *ends[:-1]][: len(blocks)]
    assert (ends or [0])[-1] == pending
    counts = [count for _, count in blocks]
    assert counts == sorted(counts, reverse=True)
    assert max(counts, default=1) <= CHUNK_HEADLINES
    assert all(count >= SMALLEST_BLOCK for count in counts[:-1])


@pytest.mark.parametrize(
    ("address", "code", "told"),
    [("127.0.0.1:1", 69, "no Ray cluster to join at 127.0.0.1:1"), ("ray://head:1", 2, "HOST:PORT"),
     ("head", 2, "HOST:PORT")],
)  # fmt: skip
def test_an_address_where_there_is_no_cluster(run, feed, tiny_model, address, code, told):
    if not ray_installed():
        pytest.skip("Ray is not installed")
    model = ("--model", tiny_model, "--weights", "fp32")
    done = run("score", "feed.parquet", *model, "--engine", "ray", "--ray-address", address)
    assert done.code == code, done.err
    assert told in done.err
    assert done.err.count("\n") == 1


def test_a_block_that_comes_twice_is_committed_once(run, wordy, tiny_model, tmp_path, monkeypatch):
    pl.DataFrame({"headline": wordy(300)}).write_parquet(tmp_path / "feed.parquet")
    blocks = []

    def dataset(given, assignment, actors):
        blocks.extend((t["start"][0].as_py(), len(t["headlines"][0])) for t in given)

    def reports(stop):
        for start, count in [blocks[0], *blocks, blocks[-1]]:
            probabilities = np.full((count, 3), 1 / 3, np.float32)
            yield BlockResult(
                start=start, batching="packed", ready_at=0.0, actor="a", vram_mb=0.0,
                failure=None, again=False, bug=None,
                scored=ScoredBatch(positions=np.arange(count), probabilities=probabilities,
                                   truncated=np.zeros(count, np.bool_), tokens=count),
            )  # fmt: skip

    cluster = Cluster(room=1)
    monkeypatch.setattr(ray_engine, "connected", lambda *_: nullcontext(cluster))
    monkeypatch.setattr(ray_engine, "_dataset", dataset)
    reader = SimpleNamespace(reports=reports)
    monkeypatch.setattr(ray_engine, "ResultReader", lambda _: nullcontext(reader))
    model = ("--model", tiny_model, "--weights", "fp32", "--engine", "ray")
    done = run("score", "feed.parquet", *model, "--commit-seconds", "0", "--summary", "json")
    assert done.code == 0, done.err
    assert done.json["rows"]["unique_scored"] == 300
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        sql = "SELECT count(*), count(DISTINCT headline_key), count(headline) FROM scores"
        assert store.execute(sql).fetchall() == [(300, 300, 300)]


def test_the_options_are_settings_like_all_others(run, tmp_path):
    (tmp_path / "f.toml").write_text('[score]\nengine = "ray"\nray-address = "h:1"\nactors = 3\n')
    done = run("--config", "f.toml", "config", "show", "score")
    assert done.code == 0, done.err
    shown = {line.split(",")[0]: line for line in done.out.splitlines()}
    assert "config file" in shown["score.engine"]
    assert "3" in shown["score.actors"]
    assert "default" in shown["score.cpus-per-actor"]


def test_a_node_with_another_model_under_its_name_is_refused(tiny_model):
    config = ModelConfig(model=str(tiny_model), device="cpu", weights="fp32")
    other = replace(open_configured(config).resolve(config, FileHashes()), fingerprint="0" * 32)
    assignment = ActorConfig(config=config, model=other, cores=1, host="elsewhere")
    with pytest.raises(ConfigError, match="differs from that of elsewhere"):
        ScoringActor.load(object.__new__(ScoringActor), assignment)
