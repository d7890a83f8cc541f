"""Runs on a real Ray that are stopped: at once, whole, and with what had arrived."""

import os
import signal
import threading
import time
from pathlib import Path

import duckdb
import pytest

from finsent_batch.errors import InterruptedRunError
from finsent_batch.pipeline.engines import ray_pool
from finsent_batch.pipeline.engines.ray_actor import ScoringActor
from finsent_batch.pipeline.engines.ray_cluster import load_ray, ray_installed
from finsent_batch.pipeline.score import score
from finsent_batch.progress import StopRequest

from ...helpers.processes import family, until
from ...helpers.ray_nodes import AtOnce, by_value, cluster, on_ray

__all__ = ["cluster", "on_ray"]  # fixtures
if not ray_installed():
    pytest.skip("Ray is not installed", allow_module_level=True)


class Slow(ScoringActor):
    """Takes its time with each block."""

    def load(self, assignment):
        return AtOnce()

    def score(self, start, headlines):
        time.sleep(0.5)
        return super().score(start, headlines)


class Loading(ScoringActor):
    """Has a model that takes its time."""

    begun = ""
    """A file that is there once an actor loads."""

    def load(self, assignment):
        Path(self.begun).touch()
        time.sleep(600)


def test_a_stop_while_the_model_loads_leaves_at_once(cluster, on_ray, tmp_path, monkeypatch):
    by_value(__name__)
    monkeypatch.setattr(ray_pool, "ScoringActor", Loading)
    monkeypatch.setattr(Loading, "begun", str(tmp_path / "begun"))
    config = on_ray(50, ray_address=cluster)
    stop, waiting = StopRequest(), threading.Event()

    def interrupt():
        until((tmp_path / "begun").exists)
        waiting.set()
        stop.signal = signal.SIGINT

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(InterruptedRunError) as interrupted:
        score(config, stop=stop)
    assert waiting.is_set()
    assert interrupted.value.exit_code == 130
    until(lambda: not family(os.getpid(), "ray::Loading"))


def test_a_stop_keeps_what_has_arrived(cluster, on_ray, tmp_path, monkeypatch):
    by_value(__name__)
    monkeypatch.setattr(ray_pool, "ScoringActor", Slow)
    config = on_ray(5000, ray_address=cluster, commit_seconds=0)
    stop, told = StopRequest(), []

    def progress(stage, done, total):
        if stage == "score":
            told.append((done, total))
            stop.signal = signal.SIGTERM

    with pytest.raises(InterruptedRunError, match="what was scored is kept") as interrupted:
        score(config, progress=progress, stop=stop)
    assert interrupted.value.exit_code == 143
    until(lambda: not family(os.getpid(), "ray::Slow"))
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        [(kept,)] = store.execute("SELECT count(*) FROM scores").fetchall()
    assert told[-1] == (kept, 5000)
    assert 0 < kept < 5000


@pytest.fixture
def busy(cluster):
    """A cluster, joined by this process, whose every core is another job's."""
    ray = load_ray(locked=False)
    ray.init(address=cluster, log_to_driver=False)
    other = ray.remote(num_cpus=1)(threading.Event)
    jobs = [other.remote() for _ in range(2)]
    ray.get([job.is_set.remote() for job in jobs])
    yield
    for job in jobs:
        ray.kill(job)
    ray.shutdown()


def test_a_run_that_waits_for_a_busy_cluster_can_be_stopped(busy, on_ray):
    config = on_ray(500)
    stop, loading = StopRequest(), threading.Event()

    def progress(stage, done, total):
        if stage == "load":
            loading.set()

    def interrupt():
        loading.wait(90)
        time.sleep(1)
        stop.signal = signal.SIGTERM

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(InterruptedRunError) as interrupted:
        score(config, progress=progress, stop=stop)
    assert loading.is_set()
    assert interrupted.value.exit_code == 143
