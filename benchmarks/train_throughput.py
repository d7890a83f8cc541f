"""QLoRA training of a causal base: ours, and the tutorial's way of cutting the same batches.

    python benchmarks/train_throughput.py BASE SPLIT [--epochs 3] [--ways ours tutorial]

BASE is a model directory (`llama_checkpoint.py` makes one of Llama 2's shape),
SPLIT a folder made by `prepare`. Loading is not counted. The tutorial's way is
one row at a time, eight gathered, activations recomputed, the loss over the
whole text; of it a few steps are enough.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from report import emit

from finsent_batch.config import TrainConfig
from finsent_batch.training import train

WAYS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours in 16 GB": {"memory_budget": "16GB", "num_train_epochs": 1.0},
    "tutorial": {"auto_batch": False, "loss": "full-text", "num_train_epochs": 0.06},
}


def measure(base: Path, split: Path, epochs: float, way: str) -> list[Any]:
    """Return a way's samples/s while training, the seconds of the whole command, the peak."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig.for_preset(
            "llama2-7b",
            base=str(base),
            data=(split,),
            output=Path(folder),
            **{"num_train_epochs": epochs, **WAYS[way]},
        )
        train(config)
        log = json.loads((Path(folder) / "training_log.json").read_text("utf-8"))
    found = next(entry for entry in log if "train_runtime" in entry)
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    rate = found["train_samples_per_second"]
    seconds = time.perf_counter() - begun
    return [way, config.num_train_epochs, found["train_runtime"], rate, seconds, peak]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    given = parser.parse_args()
    rows = [measure(given.base, given.split, given.epochs, way) for way in given.ways]
    for row in rows:
        row.append(row[3] / rows[-1][3])
    columns = ["way", "epochs", "training s", "samples/s", "whole command s", "peak GB"]
    columns.append(f"times {rows[-1][0]}")
    emit("train_throughput", columns, rows)


if __name__ == "__main__":
    main()
