"""A run on Ray whose driver or actor is killed."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import duckdb
import polars as pl
import psutil
import pytest

from finsent_batch.pipeline.engines.ray_cluster import ray_installed

from ...helpers.processes import family, until
from ...helpers.ray_nodes import without_waiting
from ...helpers.stores import committed

if not ray_installed():
    pytest.skip("Ray is not installed", allow_module_level=True)
BIN = Path(sys.executable).parent
RAY = ("--engine", "ray", "--actors", "2")
ROWS = 1500
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


class Killed:
    """A run on a Ray of its own, hit once it has committed scores."""

    def __init__(self, folder, arguments):
        self.folder = folder
        self.log = folder / "finsent.duckdb.working.wal"
        self.process = subprocess.Popen(
            [BIN / "finsent-batch", *arguments], cwd=folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until(lambda: self.ended() or len(self.actors()) == 2)
        before = self.log.stat().st_size
        until(lambda: self.ended() or self.log.stat().st_size > before + 5000)
        assert not self.ended(), self.end()

    def ended(self):
        return self.process.poll() is not None

    def actors(self):
        return family(self.process.pid, "ray::ScoringActor")

    def listening(self):
        """Return the addresses on which Ray's processes wait for connections."""
        found = set()
        driver = psutil.Process(self.process.pid)
        for process in (driver, *driver.children(recursive=True)):
            with suppress(psutil.Error):
                connections = process.net_connections("tcp")
                found |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        assert found, "Ray listens somewhere"
        return found

    def end(self):
        said = self.process.communicate(timeout=600)
        return self.process.returncode, *said

    def committed(self):
        with duckdb.connect(committed(self.folder / "finsent.duckdb"), read_only=True) as store:
            sql = "SELECT count(*), count(DISTINCT headline_key) FROM scores"
            [(count, distinct)] = store.execute(sql).fetchall()
        assert count == distinct
        return count


@pytest.fixture
def hit(tmp_path):
    """Start runs that are to be killed; none outlives the test."""
    runs = []

    def start(*arguments):
        runs.append(Killed(tmp_path, [str(a) for a in arguments]))
        return runs[-1]

    yield start
    for started in runs:
        started.process.kill()


def test_whatever_is_killed_nothing_is_lost_or_doubled(hit, run, tiny_model, wordy, tmp_path):
    """First the driver, then, in the run that goes on, an actor."""
    pl.DataFrame({"headline": wordy(ROWS)}).write_parquet(tmp_path / "feed.parquet")
    model = ("--model", tiny_model, "--weights", "fp32")
    slowly = ("--max-batch-tokens", "16", "--commit-seconds", "0", "--summary", "json")
    command = ("score", "feed.parquet", *model, *RAY, *slowly)

    killed = hit(*command)
    left = killed.actors()  # what would hold GPUs
    assert killed.listening() - LOOPBACK == set(), "nothing is offered to the network"
    killed.process.kill()
    killed.end()
    first = killed.committed()
    assert 0 < first < ROWS
    until(lambda: not any(p.is_running() and p.status() != "zombie" for p in left))
    assert not (tmp_path / "feed.scored.parquet").exists()

    struck = hit(*command)
    struck.actors()[0].kill()
    code, out, said = struck.end()
    assert (code, without_waiting(said)) == (0, "")
    assert out.startswith("{"), "nothing but the summary on stdout"
    assert out.count("\n") == 1
    assert f'"unique_scored": {ROWS - first}' in out
    assert struck.committed() == ROWS

    done = run("--store", "local.duckdb", "score", "feed.parquet", "-o", "local.parquet", *model)
    assert done.code == 0, done.err
    ray, local = (pl.read_parquet(tmp_path / f) for f in ("feed.scored.parquet", "local.parquet"))
    assert ray["headline"].equals(local["headline"])
    assert ray["sentiment"].equals(local["sentiment"])
    assert (ray["p_positive"] - local["p_positive"]).abs().max() < 1e-4
