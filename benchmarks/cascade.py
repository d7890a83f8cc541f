"""A large model with a small one before it, against the large one alone, on the same headlines.

    python benchmarks/cascade.py FEED.parquet --model ADAPTER --labelled split/test.parquet
    python benchmarks/cascade.py FEED.parquet --model ADAPTER --first mini --sure 0.9 0.95

Each way is the whole command (plan, score, publish) into a fresh store, without the time of loading
models, on the same random sample of distinct headlines; rounds alternate, medians are reported. CPU
seconds, loading included, say the same of a run on a CPU that others use too.
Then the agreement by threshold: on the sample the share of labels that are the large model's, and
with `--labelled` what `evaluate --first` finds.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from report import emit

from finsent_batch.config import EvaluateConfig, ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.evaluation.evaluate import evaluate
from finsent_batch.headlines import normalize
from finsent_batch.labels import PROBABILITY_COLUMNS
from finsent_batch.pipeline.score import score
from finsent_batch.pipeline.summary import Summary

SHOWN = (0.34, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999)


def scored(
    folder: Path,
    model: ModelConfig,
    first: str | None = None,
    sure: float | None = None,
    limit: int | None = None,
) -> tuple[Summary, pl.DataFrame]:
    """Score the sample into a fresh store; return the summary and the labelled rows."""
    with tempfile.TemporaryDirectory() as scratch:
        summary = score(
            ScoreConfig(
                input=str(folder / "sample.parquet"),
                output=Path(scratch) / "out.parquet",
                model=model,
                first=first,
                sure=sure,
                limit=limit,
                store=StoreConfig(path=Path(scratch) / "store.duckdb"),
            )
        )
        return summary, pl.read_parquet(Path(scratch) / "out.parquet")


def draw(feed: Path, count: int, folder: Path) -> None:
    """Write a random sample of a feed's distinct headlines."""
    headlines = pl.read_parquet(feed, columns=["headline"])["headline"].to_list()
    distinct = sorted(set(normalize(headlines)) - {""})
    sample = random.Random(0).sample(distinct, min(count, len(distinct)))
    pl.DataFrame({"headline": sample}).write_parquet(folder / "sample.parquet")


def measure(given: argparse.Namespace, folder: Path) -> tuple[list[list[Any]], pl.DataFrame]:
    """Return a row for each way, and the large model's answers."""
    model = ModelConfig(model=given.model, weights=given.weights, device=given.device)
    rates: dict[float | None, list[float]] = {sure: [] for sure in (None, *given.sure)}
    cpu: dict[float | None, list[float]] = {sure: [] for sure in rates}
    scored(folder, model, given.first, given.sure[0], limit=16)  # imports are nobody's time
    tables: dict[float | None, pl.DataFrame] = {}
    shares: dict[float | None, float] = {}
    for _ in range(given.rounds):
        for sure, found in rates.items():
            first = None if sure is None else given.first
            begun = time.process_time()
            summary, tables[sure] = scored(folder, model, first, sure)
            cpu[sure].append(time.process_time() - begun)
            seconds = summary.seconds["total"] - summary.seconds["load_model"]
            found.append(summary.rows["read"] / seconds)
            cascade = summary.cascade
            shares[sure] = cascade["second_scored"] / summary.rows["read"] if cascade else 1.0
    alone = statistics.median(rates[None])
    rows = []
    for sure, found in rates.items():
        equal = (tables[sure]["sentiment"] == tables[None]["sentiment"]).mean()
        way = "alone" if sure is None else f"{given.first} where {sure:g} sure"
        rate = statistics.median(found)
        seconds = statistics.median(cpu[sure])
        less = statistics.median(cpu[None]) / seconds
        rows.append([rate / alone, less, way, rate, seconds, shares[sure], equal])
    return rows, tables[None]


def by_threshold(first: pl.DataFrame, large: pl.DataFrame) -> list[list[Any]]:
    """Return what the first would answer of the sample, and the share of equal labels, by sure."""
    confidence = first.select(pl.max_horizontal(PROBABILITY_COLUMNS)).to_series().to_numpy()
    equal = (first["sentiment"] == large["sentiment"]).to_numpy()
    rows = []
    for sure in SHOWN:
        taken = confidence >= np.float32(sure)
        rows.append([f"{sure:g}", float(taken.mean()), float((equal | ~taken).mean())])
    return rows


def evaluated(given: argparse.Namespace, folder: Path) -> list[list[Any]]:
    """Return the figures on labelled rows, and print the threshold that was found."""
    model = ModelConfig(model=given.model, weights=given.weights, device=given.device)
    found = evaluate(
        EvaluateConfig(
            data=given.labelled, output=folder / "report", model=model, first=given.first
        )
    )
    cascade = found.cascade
    assert cascade is not None
    print(
        f"accuracy: {given.first} {cascade['first_accuracy']:.3f}, the model "
        f"{found.metrics['accuracy']:.3f}; threshold found: {cascade['sure']}"
    )
    return [
        [row[name] for name in ("sure", "first_share", "agreement", "accuracy", "p_value")]
        for row in cascade["thresholds"]
        if row["sure"] in (*SHOWN, cascade["sure"])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("feed", type=Path, help="Parquet file with a column headline")
    parser.add_argument("--model", required=True, help="the large model")
    parser.add_argument("--first", default="mini")
    parser.add_argument("--sure", type=float, nargs="*", default=[0.9, 0.95])
    parser.add_argument("--labelled", type=Path, help="labelled rows for evaluate --first")
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw(given.feed, given.rows, folder)
        rows, large = measure(given, folder)
        columns = ["times", "by CPU time", "way", "headlines/s", "CPU s", "scored by the model",
                   "equal labels"]  # fmt: skip
        emit("cascade", columns, rows, model=given.model, rows_read=given.rows)
        _, first = scored(folder, ModelConfig(model=given.first, device=given.device))
        emit(
            "cascade_sample", ["sure", "first answers", "equal labels"], by_threshold(first, large)
        )
        if given.labelled is not None:
            columns = ["sure", "first answers", "equal labels", "accuracy", "McNemar's p"]
            emit("cascade_labelled", columns, evaluated(given, folder))


if __name__ == "__main__":
    main()
