"""QLoRA training of a causal base: ours, and the tutorial's way of cutting the same batches.

    python benchmarks/train_throughput.py BASE SPLIT [--epochs 3] [--ways ours tutorial]

BASE is a model directory (`llama_checkpoint.py` makes one of Llama 2's shape),
SPLIT a folder made by `prepare`. Loading is not counted. `training s` is all else,
validation and checkpoints too; `samples/s` is of the steps alone, without the
first of an epoch, so that a few steps of a slow way can be compared. The
tutorial's way is one row at a time, eight gathered, activations recomputed, the
loss over the whole text.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
import torch
from report import emit

from finsent_batch.train_config import TrainConfig
from finsent_batch.training.train import train

WAYS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours in 16 GB": {"memory_budget": "16GB", "num_train_epochs": 1.0},
    "tutorial": {"auto_batch": False, "loss": "full-text", "num_train_epochs": 0.06},
}


def measure(base: Path, split: Path, epochs: float, way: str) -> list[Any]:
    """Return a way's samples/s while training, the seconds of the whole command, the memory."""
    begun = time.perf_counter()
    ends: dict[int, float] = {}

    def step_ended(stage: str, step: int, *_: object) -> None:
        if stage == "train":
            ends[step] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig.for_preset(
            "llama2-7b",
            base=str(base),
            data=(split,),
            output=Path(folder),
            **{"num_train_epochs": epochs, **WAYS[way]},
        )
        train(config, progress=step_ended)
        log = json.loads((Path(folder) / "training_log.json").read_text("utf-8"))
    found: dict[str, Any] = {}
    for entry in log:
        found |= entry
    effective = config.per_device_train_batch_size * config.gradient_accumulation_steps
    epoch = -(-pl.read_parquet(split / "train.parquet").height // effective)
    # The first step of an epoch is behind the validation of the one before.
    times = [ends[n] - ends[n - 1] for n in ends if n - 1 in ends and (n - 1) % epoch]
    rate = effective * len(times) / sum(times)
    seconds = time.perf_counter() - begun
    memory = [found.get("peak_gpu_gb", 0.0), found.get("peak_gpu_reserved_gb", 0.0)]
    return [way, config.num_train_epochs, found["train_runtime"], rate, seconds, *memory]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    given = parser.parse_args()
    # A process each: what one way leaves on the GPU would count for the next.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        given_all = [(given.base, given.split, given.epochs, way) for way in given.ways]
        rows = []
        for row in pool.map(measure, *zip(*given_all, strict=True)):
            print(*row, file=sys.stderr, flush=True)  # a later way may run out of memory
            rows.append(row)
    for row in rows:
        row.append(row[3] / rows[-1][3])
    columns = ["way", "epochs", "training s", "samples/s", "whole command s", "peak GB",
               "reserved GB", f"times {rows[-1][0]}"]  # fmt: skip
    emit("train_throughput", columns, rows, device=_device())


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
