"""What planning, Ray and the store move by themselves: a run whose scorers answer at once.

    python benchmarks/ray_overhead.py ../shared/data/feeds/reuters_2013.parquet

`headlines/s` is distinct headlines over the plan and score stages, from the file to
the last commit, without Ray's start; `with start` counts that too.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from report import emit

from finsent_batch.config import ScoreConfig, StoreConfig
from finsent_batch.pipeline.engines import ray as ray_engine
from finsent_batch.pipeline.engines.ray_actor import ActorConfig, ScoringActor
from finsent_batch.pipeline.score import score
from finsent_batch.scorers.base import ScoredBatch, Tokenized

# Bytes of an otherwise empty store, its schema and views; and rows too few to tell.
_SCORES = 1_000_000


class AtOnce:
    """A scorer without a model."""

    device, weights, path = "cpu", "none", "at once"

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        return Tokenized.of([[]] * len(texts), np.zeros(len(texts), np.bool_))

    def score_tokenized(self, tokenized: Tokenized) -> Iterator[ScoredBatch]:
        """Give probabilities that differ as real ones do, so that they compress no better."""
        n = len(tokenized.sizes)
        drawn = np.random.default_rng(n).dirichlet((1, 4, 1), n).astype(np.float32)
        yield ScoredBatch(
            positions=np.arange(n), probabilities=drawn, truncated=tokenized.truncated, tokens=n
        )


class InstantActor(ScoringActor):
    """An actor that loads nothing."""

    def load(self, assignment: ActorConfig) -> Any:
        return AtOnce()


def measure(feed: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Score a feed into a fresh store and return what it took."""
    ray_engine.ScoringActor = InstantActor  # type: ignore[misc]
    config = ScoreConfig(
        input=str(feed),
        output=folder / "out.parquet",
        engine="ray",
        actors=arguments.actors,
        limit=arguments.rows,
        store=StoreConfig(path=folder / "store.duckdb"),
        store_text=not arguments.no_store_text,
    )
    summary = score(replace(config, model=replace(config.model, model="mini")))
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
        "peak MB": summary.peak_rss_mb,
        "store MB a million": config.store.path.stat().st_size / 1e6 / scored * _SCORES,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("feed", type=Path)
    parser.add_argument("--rows", type=int, help="only the first rows of the feed")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-store-text", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(arguments.feed, Path(scratch), arguments)
        rows.append(list(found.values()))
        print(json.dumps(found), flush=True)
    rows.sort(key=lambda row: row[list(found).index("headlines/s")])
    emit("ray_overhead", list(found), [rows[len(rows) // 2]], rounds=arguments.rounds)


if __name__ == "__main__":
    main()
