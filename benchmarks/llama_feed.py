"""A feed through the whole command, against the engine alone on headlines of that feed.

python benchmarks/llama_feed.py MODEL FEED.parquet [WEIGHTS]
"""

import random
import sys
from pathlib import Path

import polars as pl
from llama_throughput import DEVICE, ours, whole_command
from report import emit

from finsent_batch.headlines import normalize
from finsent_batch.models.directory import open_model

SAMPLE = 16_384


def main() -> None:
    model, feed = Path(sys.argv[1]), Path(sys.argv[2])
    spec = open_model(str(model))
    weights = spec.weights_for(sys.argv[3] if len(sys.argv) > 3 else "auto", DEVICE)
    headlines = pl.read_parquet(feed, columns=["headline"])["headline"].to_list()
    distinct = sorted(set(normalize(headlines)) - {""})
    sample = random.Random(0).sample(distinct, min(len(distinct), SAMPLE))
    alone = ours(spec, sample, weights, None)["rate"]
    whole, done = whole_command(model, feed, weights, len(headlines))
    rows = [
        ["engine alone, a sample", len(sample), weights, alone, 1.0],
        ["whole command", done, weights, whole, whole / alone],
    ]
    emit("llama_feed", ["way", "headlines", "weights", "headlines/s", "of the engine"], rows)


if __name__ == "__main__":
    main()
