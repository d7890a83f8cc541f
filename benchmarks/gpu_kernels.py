"""Which kernels a GPU spends a model's batches, or a causal training step, on.

    python benchmarks/gpu_kernels.py scoring ../shared/data
    python benchmarks/gpu_kernels.py scoring ../shared/data --model DIR --weights fp8
    python benchmarks/gpu_kernels.py training BASE SPLIT --batch 8

`scoring` scores headlines of the year's file once before those are profiled. `training` trains
as `train --preset llama2-7b` does and profiles its last four steps, whose shapes may be new: those
are launched one by one, and have the same kernels. BASE may have fewer layers than Llama 2.
Without a GPU the script is checked: operations of the CPU stand for kernels.
"""

import argparse
import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import torch
from report import emit
from torch.profiler import ProfilerActivity, profile

from finsent_batch.config import ModelConfig
from finsent_batch.errors import InterruptedRunError
from finsent_batch.models.directory import open_configured
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.progress import StopRequest
from finsent_batch.scorers.load import load_scorer
from finsent_batch.train_config import TrainConfig
from finsent_batch.training.train import train

CUDA = torch.cuda.is_available()
STEPS = 4
HEADLINES = 65_536
SHOWN = 20


def scoring(data: Path, model: str, weights: str, headlines: int) -> tuple[Any, int]:
    """Return the profile of scoring so many headlines once, the longest first."""
    config = ModelConfig(model=model, weights=weights)
    scorer = load_scorer(open_configured(config).resolve(config, FileHashes()))
    column = pl.read_parquet(data / "feeds" / "reuters_2013.parquet")["headline"].drop_nulls()
    texts = sorted(column.unique(maintain_order=True).head(headlines), key=len, reverse=True)
    list(scorer.score(texts))
    with profiled() as found:
        list(scorer.score(texts))
    return found, 1


def training(base: Path, split: Path, batch: int, steps: int) -> tuple[Any, int]:
    """Return the profile of the last steps of a training, and how many they are."""
    stop, found = StopRequest(), contextlib.ExitStack()
    profiles: list[Any] = []

    def step_ended(stage: str, step: int, *_: object) -> None:
        if stage == "train" and step == steps - STEPS:
            profiles.append(found.enter_context(profiled()))
        if stage == "train" and step == steps:
            found.close()
            stop.signal = 15

    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig.for_preset(
            "llama2-7b", base=str(base), data=(split,), output=Path(folder),
            per_device_train_batch_size=1, gradient_accumulation_steps=batch,
            num_train_epochs=float(steps),
            **({} if CUDA else {"quantisation": None, "threads": 1}),
        )  # fmt: skip
        with contextlib.suppress(InterruptedRunError):
            train(config, progress=step_ended, stop=stop)
    return profiles[0], STEPS


@contextmanager
def profiled() -> Iterator[Any]:
    """Yield a profile of the block, at whose ends the GPU is waited for."""
    kinds = [ProfilerActivity.CUDA] if CUDA else [ProfilerActivity.CPU]
    if CUDA:
        torch.cuda.synchronize()
    with profile(activities=kinds) as found:
        yield found
        if CUDA:
            torch.cuda.synchronize()


def kernels(found: Any, times: int) -> list[list[Any]]:
    """Return name, calls, milliseconds and percent of each kernel, and of all together first."""
    calls, spent = Counter[str](), Counter[str]()
    kind = torch.autograd.DeviceType.CUDA if CUDA else torch.autograd.DeviceType.CPU
    for event in found.events():
        if event.device_type == kind:
            calls[event.name] += 1
            spent[event.name] += event.self_device_time_total if CUDA else event.self_cpu_time_total
    whole = sum(spent.values())
    rows = [["all", sum(calls.values()) / times, whole / times / 1e3, 100.0]]
    for name, micro in spent.most_common(SHOWN):
        rows.append([name[:70], calls[name] / times, micro / times / 1e3, 100 * micro / whole])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    texts = parts.add_parser("scoring")
    texts.add_argument("data", type=Path)
    texts.add_argument("--model", default="mini")
    texts.add_argument("--weights", default="auto")
    texts.add_argument("--headlines", type=int, default=HEADLINES)
    steps = parts.add_parser("training")
    steps.add_argument("base", type=Path)
    steps.add_argument("split", type=Path)
    steps.add_argument("--batch", type=int, default=8)
    steps.add_argument("--steps", type=int, default=90, help=f"more than {STEPS}")
    given = parser.parse_args()
    if given.part == "scoring":
        found, times = scoring(given.data, given.model, given.weights, given.headlines)
    else:
        found, times = training(given.base, given.split, given.batch, given.steps)
    device = torch.cuda.get_device_name() if CUDA else "cpu"
    emit(f"gpu_kernels_{given.part}", ["kernel", "calls", "ms", "%"], kernels(found, times),
         device=device)  # fmt: skip


if __name__ == "__main__":
    main()
