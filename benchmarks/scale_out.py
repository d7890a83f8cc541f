"""One GPU against several, in one run: scoring on Ray, training under torchrun.

    python benchmarks/scale_out.py ../shared/data --checkpoint /tmp/llama

Makes the Llama-2-7B-shaped checkpoint with random weights if it is not there. Each
way is the whole command in a process of its own with a fresh store; the start of
Ray and the loading of models are not counted in headlines/s, nor loading in
samples/s. `--tiny` checks the script with two CPU actors and processes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import torch
from llama_checkpoint import SHAPE_7B, SHAPE_TINY, make_adapter, make_base
from report import emit

BIN = Path(sys.executable).parent
CUDA = torch.cuda.is_available()


def command(arguments: list[object], *, processes: int = 1, gpus: int | None = None) -> str:
    """Run finsent-batch on the first GPUs, under torchrun if in several processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if not CUDA else dict(os.environ)
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(gpus)))
    started = [BIN / "torchrun", "--standalone", f"--nproc-per-node={processes}"]
    words = [*(started if processes > 1 else []), BIN / "finsent-batch", *arguments]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def scoring(model: Path, feed: Path, rows: int, devices: int, given: argparse.Namespace) -> Any:
    """Return headlines/s of the score stage, the headlines, and how the batches were run."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        engine = ["--engine", "ray", "--actors", devices] if devices > 1 else ["--engine", "local"]
        if not CUDA and devices == 1:
            # The local engine takes all cores; one actor with one core is the unit here.
            engine = ["--engine", "ray", "--actors", 1]
        told = command(
            ["--store", folder / "store.duckdb", "score", feed, "-o", folder / "out.parquet",
             "--model", model, "--weights", given.weights, "--limit", rows, *engine,
             "--summary", "json"],
            gpus=devices if CUDA else None,
        )  # fmt: skip
    summary = json.loads(told)
    how = f"{summary['engine']}, {summary['actors'] or 1} scored"
    return summary["headlines_per_second"], summary["rows"]["unique_scored"], how


def training(base: Path, split: Path, devices: int, given: argparse.Namespace) -> Any:
    """Return samples/s while training, the samples, and how many processes did it."""
    with tempfile.TemporaryDirectory() as scratch:
        quantized = [] if CUDA else ["--quantisation", "none", "--threads", 1]
        command(
            ["train", "--preset", "llama2-7b", "--base", base, "--data", split, "-o", scratch,
             "--num-train-epochs", given.epochs, *quantized],
            processes=devices, gpus=devices if CUDA else None,
        )  # fmt: skip
        log = json.loads((Path(scratch) / "training_log.json").read_text("utf-8"))
    found = next(entry for entry in log if "train_runtime" in entry)
    rate = found["train_samples_per_second"]
    return rate, round(rate * found["train_runtime"]), f"{devices} processes"


def split_of(data: Path, folder: Path, rows: int) -> Path:
    """Make a split of PhraseBank with so many training rows of each label."""
    if not (folder / "train.parquet").exists():
        command(["prepare", data / "phrasebank/Sentences_50Agree.txt", "-o", folder,
                 "--recipe", "tutorial"])  # fmt: skip
        for part in folder.glob("*.parquet"):
            pl.read_parquet(part).group_by("label", maintain_order=True).head(rows).write_parquet(
                part
            )
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--rows", type=int, default=240_000)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--parts", nargs="+", default=["scoring", "training"])
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    shape = SHAPE_TINY if given.tiny else SHAPE_7B
    base = make_base(given.checkpoint / "base", given.data / "llama2_tokenizer", shape)
    model = make_adapter(given.checkpoint / "adapter", base)
    feed = given.data / "feeds" / "reuters_2013.parquet"
    split = split_of(given.data, given.checkpoint / "split", 8 if given.tiny else 300)
    rows = []
    for part in given.parts:
        first = None
        for devices in given.devices:
            if part == "scoring":
                rate, done, how = scoring(model, feed, given.rows, devices, given)
            else:
                rate, done, how = training(base, split, devices, given)
            first = first or rate
            rows.append([part, devices, how, done, rate, rate / first])
            print(rows[-1], flush=True)
    columns = ["part", "GPUs" if CUDA else "CPU actors", "how", "rows", "rows/s", "times the first"]
    emit("scale_out", columns, rows, device=torch.cuda.get_device_name() if CUDA else "cpu")


if __name__ == "__main__":
    main()
