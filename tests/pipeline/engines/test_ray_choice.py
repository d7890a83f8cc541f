"""Which engine a run takes, and what the Ray engine does that needs no Ray."""

import logging
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finsent_batch.config import ModelConfig
from finsent_batch.errors import ConfigError
from finsent_batch.hardware import cpu_flags
from finsent_batch.models.directory import open_configured
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.pipeline import score_stage as scoring_stage
from finsent_batch.pipeline.engines.ray import SMALLEST_BLOCK, block_size
from finsent_batch.pipeline.engines.ray_actor import ActorConfig, ScoringActor
from finsent_batch.pipeline.engines.ray_cluster import BLOCK_BYTES, ray_installed
from finsent_batch.pipeline.score_stage import choose_engine
from finsent_batch.scorers.base import CHUNK, GPU_CHUNK
from finsent_batch.scorers.load import chunk_of, load_scorer

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


@given(
    pending=st.integers(0, 2_000_000), actors=st.integers(1, 64),
    longest=st.integers(0, 5_000_000), chunk=st.sampled_from([CHUNK, GPU_CHUNK]),
)  # fmt: skip
def test_blocks_cover_the_plan_and_grow_smaller(pending, actors, longest, chunk):
    counts = []
    while pending > sum(counts):
        left = pending - sum(counts)
        counts.append(block_size(left, actors, 74 if counts else longest, chunk))
    assert sum(counts) == pending
    assert counts[1:] == sorted(counts[1:], reverse=True)
    assert max(counts, default=1) <= chunk
    assert all(count >= SMALLEST_BLOCK for count in counts[1:-1])
    assert not counts or counts[0] == 1 or counts[0] * longest <= BLOCK_BYTES * chunk // CHUNK


@pytest.mark.parametrize(
    ("address", "code", "told"),
    [("127.0.0.1:{port}", 69, "no Ray cluster to join at 127.0.0.1:{port}"),
     ("ray://head:1", 2, "HOST:PORT"), ("head", 2, "HOST:PORT")],
)  # fmt: skip
def test_an_address_where_there_is_no_cluster(run, feed, tiny_model, address, code, told):
    if not ray_installed():
        pytest.skip("Ray is not installed")
    model = ("--model", tiny_model, "--weights", "fp32")
    with socket.socket() as taken:  # and nobody listens there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        address, told = address.format(port=port), told.format(port=port)
        done = run("score", "feed.parquet", *model, "--engine", "ray", "--ray-address", address)
    assert done.code == code, done.err
    assert told in done.err
    assert done.err.count("\n") == 1


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


@pytest.mark.skipif(
    not cpu_flags() & {"avx512_vnni", "avx_vnni"}, reason="this CPU has no VNNI instructions"
)
def test_an_actor_takes_the_margin_that_the_run_hands_over(tiny_model):
    config = ModelConfig(model=str(tiny_model), device="cpu", weights="int8")
    resolved = open_configured(config).resolve(config, FileHashes())
    assignment = ActorConfig(config=config, model=resolved, cores=1, near_tie=0.123)
    assert object.__new__(ScoringActor).load(assignment).near_tie == 0.123


def test_a_small_model_on_a_gpu_has_large_blocks(tiny_model):
    config = ModelConfig(model=str(tiny_model), device="cpu", weights="fp32")
    resolved = open_configured(config).resolve(config, FileHashes())
    assert chunk_of(resolved) == load_scorer(resolved).chunk == CHUNK
    assert chunk_of(replace(resolved, device="cuda")) == GPU_CHUNK
    assert chunk_of(replace(resolved, spec=replace(resolved.spec, family="causal"))) == CHUNK
