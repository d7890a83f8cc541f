"""Runs on a real Ray that are stopped: at once, whole, and with what had arrived."""

import signal
import threading
import time

import duckdb
import pytest

from finsent_batch.errors import InterruptedRunError
from finsent_batch.pipeline.engines import ray as ray_engine
from finsent_batch.pipeline.engines.ray_actor import ScoringActor
from finsent_batch.pipeline.engines.ray_cluster import load_ray, ray_installed
from finsent_batch.pipeline.score import score
from finsent_batch.progress import StopRequest

from ...helpers.processes import until
from ...helpers.ray_nodes import AtOnce, by_value, cluster, on_ray, ray_threads

__all__ = ["cluster", "on_ray"]  # fixtures
if not ray_installed():
    pytest.skip("Ray is not installed", allow_module_level=True)


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


def test_a_stop_while_the_model_loads_leaves_at_once(cluster, on_ray, monkeypatch):
    by_value(__name__)
    monkeypatch.setattr(ray_engine, "ScoringActor", Loading)
    config = on_ray(50, ray_address=cluster)
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


def test_a_stop_keeps_what_has_arrived(cluster, on_ray, tmp_path, monkeypatch):
    by_value(__name__)
    monkeypatch.setattr(ray_engine, "ScoringActor", Slow)
    config = on_ray(5000, ray_address=cluster, commit_seconds=0)
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
    stop = StopRequest()

    def interrupt():
        until(lambda: len(ray_threads()) > 1)
        time.sleep(1)
        stop.signal = signal.SIGTERM

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(InterruptedRunError) as interrupted:
        score(config, stop=stop)
    assert interrupted.value.exit_code == 143
    assert not ray_threads()
