"""What planning, Ray and the store move by themselves: a run whose scorers need no model.

    python benchmarks/ray_overhead.py ../shared/data/feeds/reuters_2013.parquet
    python benchmarks/ray_overhead.py --rows 5000000 --object-store-mb 80 --rounds 1
    python benchmarks/ray_overhead.py --rows 1000000 --actors 8 --rate 16000 --rounds 1

Without a feed it makes headlines, all of them distinct. `headlines/s` is distinct headlines
over the plan and score stages, from the file to the last commit, without Ray's start; `with
start` counts that too. The second table has the driver's seconds for a million headlines by
stage: CPU of all its threads, and of the clock; `wait` is where nothing has come from the
actors, and `rest` is mostly what a run costs once, such as Ray's start. The actors answer at
once, or with `--rate` take as long as if they scored so many headlines a second together.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from ray_driver import STAGES, Driver
from report import emit

from finsent_batch.config import ScoreConfig, StoreConfig
from finsent_batch.pipeline import score as score_run
from finsent_batch.pipeline.engines import ray_cluster, ray_pool
from finsent_batch.pipeline.engines.ray_actor import ActorConfig, ScoringActor
from finsent_batch.scorers.base import ScoredBatch, Tokenized

MILLION = 1_000_000


class Paced:
    """A scorer without a model, which takes so many seconds a headline."""

    device, weights, path, batching, near_tie = "cpu", "none", "none", "at once", None

    def __init__(self, pace: float) -> None:
        self.pace = pace

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        return Tokenized.of([[]] * len(texts), np.zeros(len(texts), np.bool_))

    def score_tokenized(self, tokenized: Tokenized) -> Iterator[ScoredBatch]:
        """Give probabilities that differ as real ones do, so that they compress no better."""
        n = len(tokenized.sizes)
        time.sleep(n * self.pace)
        drawn = np.random.default_rng(n).dirichlet((1, 4, 1), n).astype(np.float32)
        yield ScoredBatch(
            positions=np.arange(n), probabilities=drawn, truncated=tokenized.truncated, tokens=n
        )


class PacedActor(ScoringActor):
    """An actor that loads nothing."""

    pace = 0.0

    def load(self, assignment: ActorConfig) -> Any:
        return Paced(self.pace)


def make_feed(target: Path, rows: int) -> Path:
    """Write distinct headlines of 86 bytes on average."""
    duckdb.sql(f"""
        SELECT 'Company ' || i || ' ' || ['raises', 'cuts', 'keeps', 'beats', 'misses', 'confirms',
            'withdraws', 'narrows'][1 + i % 8] || ' its forecast for the year to '
            || (i * 7919 % 1000003) || ' million dollars' || repeat(' again', (hash(i) % 5)::INT)
            AS headline
        FROM range({rows}) AS t(i)""").write_parquet(str(target))
    return target


def measure(folder: Path, driver: Driver, arguments: argparse.Namespace) -> dict[str, float]:
    """Score a feed into a fresh store and return what it took."""
    config = ScoreConfig(
        input=str(arguments.feed or make_feed(folder / "feed.parquet", arguments.rows)),
        output=folder / "out.parquet",
        engine="ray",
        actors=arguments.actors,
        limit=arguments.rows,
        store=StoreConfig(path=folder / "store.duckdb"),
        store_text=not arguments.no_store_text,
    )
    ended = threading.Event()
    watching = threading.Thread(
        target=driver.watch_disk, args=(folder / "store.duckdb.work", ended), daemon=True
    )
    watching.start()
    scored_by = driver.timed("rest", score_run.score)
    summary = scored_by(replace(config, model=replace(config.model, model="mini")))
    ended.set()
    seconds, scored = summary.seconds, summary.rows["unique_scored"]
    with duckdb.connect(str(config.store.path), read_only=True) as store:
        [(count, distinct)] = store.execute(
            "SELECT count(*), count(DISTINCT headline_key) FROM scores"
        ).fetchall()
    assert count == distinct == scored, (count, distinct, scored)
    return {
        "rows": summary.rows["read"],
        "headlines": scored,
        "plan s": seconds["plan"],
        "Ray's start s": seconds["load_model"],
        "score s": seconds["score"],
        "publish s": seconds["publish"],
        "headlines/s": scored / (seconds["plan"] + seconds["score"]),
        "with start": scored / (seconds["plan"] + seconds["score"] + seconds["load_model"]),
        "scoring alone": scored / seconds["score"],
        "peak MB": summary.peak_rss_mb,
        "object store MB": driver.object_store_mb,
        "spilled MB": driver.spilled_mb,
        "store MB a million": config.store.path.stat().st_size / 1e6 / scored * MILLION,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("feed", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, help="only the first rows of the feed, or how many")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--rate", type=float, help="headlines/s of all actors together")
    parser.add_argument("--object-store-mb", type=int, help="what Ray is started with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-store-text", action="store_true")
    arguments = parser.parse_args()
    if arguments.feed is None and arguments.rows is None:
        parser.error("name a feed, or how many --rows to make")
    ray_cluster.load_ray(locked=True)
    ray_pool.ScoringActor = PacedActor  # type: ignore[misc]
    if arguments.rate:
        PacedActor.pace = arguments.actors / arguments.rate
    if arguments.object_store_mb:
        ray_cluster._SMALLEST_OBJECT_STORE = arguments.object_store_mb * 1_000_000
        ray_cluster._OBJECT_STORE_BYTES_AN_ACTOR = 0
    driver = Driver()
    driver.watch()
    rows = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(Path(scratch), driver, arguments)
        rows.append(list(found.values()))
        print(json.dumps(found), flush=True)
    rows.sort(key=lambda row: row[list(found).index("headlines/s")])
    settings = {"rounds": arguments.rounds, "rate": arguments.rate, "actors": arguments.actors}
    emit("ray_overhead", list(found), [rows[len(rows) // 2]], **settings)
    millions = sum(row[list(found).index("headlines")] for row in rows) / MILLION
    stages = [[s, driver.cpu[s] / millions, driver.clock[s] / millions] for s in STAGES]
    stages.append(["Ray's raylet and GCS", driver.ray_seconds / millions, None])
    columns = ["stage", "CPU s a million", "s a million"]
    emit("ray_overhead_stages", columns, stages, **settings)


if __name__ == "__main__":
    main()
