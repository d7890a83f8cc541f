"""A run on a Ray cluster of two nodes, one of which dies."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from finsent_batch.pipeline.engines.ray_cluster import ray_installed

from ...helpers.processes import family, until
from ...helpers.ray_nodes import without_waiting

if not ray_installed():
    pytest.skip("Ray is not installed", allow_module_level=True)
BIN = Path(sys.executable).parent
ROWS = 1200
SIZE = {"num_cpus": 1, "object_store_memory": 80_000_000}
# A node that is gone is noticed after two seconds instead of half a minute.
WATCHED = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    head = {**SIZE, "include_dashboard": False, "_system_config": WATCHED}
    started = Cluster(initialize_head=True, head_node_args=head)
    yield started
    started.shutdown()


def test_a_node_that_dies_costs_no_row(cluster, wordy, tiny_model, tmp_path):
    node = cluster.add_node(**SIZE)
    raylet = node.all_processes["raylet"][0].process.pid
    pl.DataFrame({"headline": wordy(ROWS)}).write_parquet(tmp_path / "feed.parquet")
    started = subprocess.Popen(
        [BIN / "finsent-batch", "score", "feed.parquet", "--model", tiny_model, "--weights", "fp32",
         "--engine", "ray", "--ray-address", cluster.address, "--actors", "2",
         "--max-batch-tokens", "16", "--commit-seconds", "0", "--summary", "json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def ended():
        return started.poll() is not None

    def scoring():
        return bool(family(raylet, "ray::ScoringActor"))

    log = tmp_path / "finsent.duckdb.working.wal"
    try:
        until(lambda: ended() or scoring())
        before = log.stat().st_size
        until(lambda: ended() or log.stat().st_size > before + 5000)
        assert not ended(), started.communicate()
        cluster.remove_node(node, allow_graceful=False)
        out, said = started.communicate(timeout=600)
    finally:
        started.kill()
    assert (started.returncode, without_waiting(said)) == (0, "")
    assert json.loads(out)["rows"]["unique_scored"] == ROWS
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        sql = "SELECT count(*), count(DISTINCT headline_key) FROM scores"
        assert store.execute(sql).fetchall() == [(ROWS, ROWS)]
    labelled = pl.read_parquet(tmp_path / "feed.scored.parquet")
    assert labelled.height == ROWS
    assert labelled["score_status"].unique().to_list() == ["scored"]
