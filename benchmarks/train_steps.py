"""What a step of a causal training takes, in one process or several.

    python benchmarks/train_steps.py FOUND.json BASE SPLIT --batch 8 --steps 110
    torchrun --standalone --nproc-per-node=2 benchmarks/train_steps.py FOUND.json BASE SPLIT

Trains so many steps as `train --preset llama2-7b` does and stops. `seconds` is a step's of the
second half: of runs of five steps, at whose ends the GPU is waited for, the median. Runs in which a
process met a shape that it had not recorded yet are left out; `recording` is their share. `begin`
is what came before the first step. `scale_out.py` uses it.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import torch

from finsent_batch.errors import InterruptedRunError
from finsent_batch.progress import StopRequest
from finsent_batch.train_config import TrainConfig
from finsent_batch.training.cuda_graphs import RecordingTrainer
from finsent_batch.training.train import train

RUN = 5


def note_recordings() -> list[int]:
    """Return a list to which this process adds each step of whose shape it has no recording."""
    found: list[int] = []
    recorded = RecordingTrainer.training_step

    def training_step(self: Any, model: Any, inputs: Any, *more: Any) -> Any:
        if torch.cuda.is_available() and self.shape_of(inputs) not in self._steps:
            found.append(self.state.global_step + 1)
        return recorded(self, model, inputs, *more)

    RecordingTrainer.training_step = training_step  # type: ignore[method-assign]
    return found


def notes_of(found: Path) -> tuple[int, list[Path]]:
    """Return this process's number, and the file that each process writes."""
    rank, world = (int(os.environ.get(name, at)) for name, at in (("RANK", 0), ("WORLD_SIZE", 1)))
    return rank, [found.with_name(f"{found.name}.{number}") for number in range(world)]


def noted_by_all(found: Path, own: list[int]) -> set[int]:
    """Write what this process noted beside `found`, and return what all processes did."""
    rank, files = notes_of(found)
    written = files[rank].with_name(f"{files[rank].name}.part")
    written.write_text(json.dumps(own), "utf-8")
    written.replace(files[rank])
    while rank == 0 and not all(file.exists() for file in files):
        time.sleep(0.1)
    return {step for file in files if file.exists() for step in json.loads(file.read_text("utf-8"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("found", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=110, help=f"at least {3 * RUN}")
    parser.add_argument("--optim", default="auto")
    given = parser.parse_args()
    rows = pl.read_parquet(given.split / "train.parquet").height
    stop, ends, begun = StopRequest(), list[float](), time.perf_counter()
    rank, notes = notes_of(given.found)
    notes[rank].unlink(missing_ok=True)  # an earlier run's
    new = note_recordings()

    def step_ended(stage: str, step: int, *_: object) -> None:
        if stage == "train" and step:
            # A step's kernels are only launched when its end is told.
            if step % RUN == 0 and torch.cuda.is_available():
                torch.cuda.synchronize()
            ends.append(time.perf_counter())
            if step >= given.steps:
                stop.signal = 15

    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig.for_preset(
            "llama2-7b", base=str(given.base), data=(given.split,), output=Path(folder),
            per_device_train_batch_size=1, gradient_accumulation_steps=given.batch,
            num_train_epochs=float(math.ceil(given.steps / math.ceil(rows / given.batch)) + 1),
            optim=given.optim,
            **({} if torch.cuda.is_available() else {"quantisation": None, "threads": 1}),
        )  # fmt: skip
        with contextlib.suppress(InterruptedRunError):
            train(config, progress=step_ended, stop=stop)
    noted = noted_by_all(given.found, new)
    if not ends:  # another process of several
        return
    runs = [
        (b - a) / RUN
        for first, (a, b) in enumerate(pairwise(ends[RUN - 1 :: RUN]), 1)
        if noted.isdisjoint(range(RUN * first + 1, RUN * first + RUN + 1))
    ]
    if not runs:
        sys.exit("each run of steps met a new shape: give more --steps")
    seconds = statistics.median(runs[len(runs) // 2 :])
    found = {"steps": len(ends), "seconds": seconds, "samples_per_second": given.batch / seconds,
             "recording": 1 - len(runs) / (len(ends) // RUN - 1),
             "begin": ends[0] - begun, "all": ends[-1] - begun}  # fmt: skip
    if torch.cuda.is_available():
        found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    given.found.write_text(json.dumps(found), "utf-8")
    print(found, file=sys.stderr)


if __name__ == "__main__":
    main()
