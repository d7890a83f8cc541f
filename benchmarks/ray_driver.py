"""What the driver of a run on Ray does: seconds by stage, and what Ray and DuckDB held meanwhile.

    python benchmarks/ray_driver.py WATCHED.json score feed.parquet --engine ray …

Runs the command line in this process and writes what it found to WATCHED.json. `ray_overhead.py`
and `scale_out.py` use it.
"""

import functools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from finsent_batch.pipeline import score as score_run
from finsent_batch.pipeline.engines import ray as ray_engine
from finsent_batch.pipeline.engines import ray_pool

STAGES = ("plan", "read", "put", "wait", "collect", "commit", "publish", "rest")
SCORING = STAGES[1:6]
"""Those of the score stage."""
_WAITING = ("wait", "put", "rest")
"""Beside the thread that reads and commits, these do little but wait for it or for Ray."""
# Every so many blocks the object store is looked at: Ray is asked for it.
_LOOK_EVERY = 10


class Driver:
    """What this process does in a run: seconds by stage, and what others held meanwhile."""

    def __init__(self) -> None:
        self.cpu, self.clock = Counter[str](), Counter[str]()
        self.object_store_mb = self.spilled_mb = self.ray_seconds = 0.0
        self._stages: dict[int, list[str]] = {}
        """Of each thread, the innermost last."""
        self._lock = threading.Lock()
        self._cpu_since, self._since = 0.0, 0.0
        self._looks = 0

    def _switch(self) -> None:
        """Put the time since the last switch down to the innermost stages.

        Each thread's has all of it by the clock. The CPU time of the process, which has DuckDB's
        threads too, is shared evenly by the stages that did not wait meanwhile.
        """
        cpu, clock = time.process_time(), time.monotonic()
        now = [stages[-1] for stages in self._stages.values() if stages]
        for stage in now:
            self.clock[stage] += clock - self._since
        at_work = [stage for stage in now if stage not in _WAITING] or now
        for stage in at_work:
            self.cpu[stage] += (cpu - self._cpu_since) / len(at_work)
        self._cpu_since, self._since = cpu, clock

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time is a stage's, less that of stages that begin within it."""

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            with self._lock:
                self._switch()
                stages = self._stages.setdefault(threading.get_ident(), [])
                stages.append(stage)
            try:
                return function(*given, **named)
            finally:
                with self._lock:
                    self._switch()
                    stages.pop()

        return call

    def watch(self) -> None:
        """Time the stages of this process's runs from now on, and look at Ray between them."""
        import ray

        for place, name, stage in (
            (score_run, "make_plan", "plan"),
            (ray_engine, "pending_headlines", "read"),
            (ray_pool.ActorPool, "_feed", "put"),
            (ray, "wait", "wait"),
            (ray_pool.ActorPool, "_finish", "collect"),
            (ray_engine, "commit_scores", "commit"),
            (score_run, "publish_tasks", "publish"),
        ):
            setattr(place, name, self.timed(stage, getattr(place, name)))
        give, leave = ray_pool.ActorPool._next_block, ray_pool.ActorPool.__exit__

        def looked(pool: Any, blocks: Any) -> Any:
            self._looks += 1
            if self._looks % _LOOK_EVERY == 0:
                there = ray.cluster_resources()["object_store_memory"]
                used = there - ray.available_resources().get("object_store_memory", 0.0)
                self.object_store_mb = max(self.object_store_mb, used / 1e6)
            return give(pool, blocks)

        def left(pool: Any, *error: Any) -> None:
            for process in psutil.Process().children(recursive=True):
                if Path(process.name()).name in ("raylet", "gcs_server"):
                    times = process.cpu_times()
                    self.ray_seconds += times.user + times.system
            leave(pool, *error)

        ray_pool.ActorPool._next_block = looked  # type: ignore[method-assign]
        ray_pool.ActorPool.__exit__ = left  # type: ignore[method-assign]

    def watch_disk(self, work: Path, ended: threading.Event) -> None:
        """Note the most that DuckDB has spilled, until the event."""
        while not ended.wait(0.5):
            size = sum(f.stat().st_size for f in os.scandir(work)) if work.exists() else 0
            self.spilled_mb = max(self.spilled_mb, size / 1e6)


def main() -> None:
    from finsent_batch.jobs.cli import run

    from finsent_batch.pipeline.engines.ray_cluster import load_ray

    load_ray(locked=True)
    driver = Driver()
    driver.watch()
    code = driver.timed("rest", run)(sys.argv[2:])
    found = {"cpu": driver.cpu, "clock": driver.clock, "object_store_mb": driver.object_store_mb}
    Path(sys.argv[1]).write_text(json.dumps(found), "utf-8")
    sys.exit(code)


if __name__ == "__main__":
    main()
