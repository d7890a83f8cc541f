"""One GPU against several, in one run: scoring on Ray, training under torchrun.

    python benchmarks/scale_out.py ../shared/data --checkpoint /tmp/llama --devices 1 2 4 8

Makes the Llama-2-7B-shaped checkpoint with random weights if it is not there. Each way is the
whole command in a process of its own with a fresh store; the start of Ray and the loading of
models are not counted in rows/s; those of training are of the steps alone, the median of the later
half (`train_steps.py`). `driver` is the CPU time of the process that feeds the actors,
all its threads, as a share of the score stage's seconds (1 is one core); `object store MB` the
most that lay in Ray's at one time. `--tiny` checks the script with CPU actors and processes:

    python benchmarks/scale_out.py ../shared/data --checkpoint /tmp/tiny --tiny --rows 2000 \\
        --batches 8
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch
from llama_checkpoint import SHAPE_7B, SHAPE_TINY, make_adapter, make_base
from ray_driver import SCORING
from report import emit

BIN = Path(sys.executable).parent
CUDA = torch.cuda.is_available()


def command(words: list[object], *, gpus: int | None = None, watched: Path | None = None) -> str:
    """Run finsent-batch on the first GPUs and return what it printed.

    With `watched` its Ray driver is watched, and what it did written to that file.
    """
    if watched is not None:
        return run([Path(__file__).with_name("ray_driver.py"), watched, *words], gpus=gpus)
    return run(["-m", "finsent_batch", *words], gpus=gpus)


def run(words: list[object], *, processes: int = 1, gpus: int | None = None) -> str:
    """Run Python on the first of the visible GPUs, under torchrun if in several processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if not CUDA else dict(os.environ)
    if gpus is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(visible.split(",")[:gpus])
    started: list[object] = [sys.executable]
    if processes > 1:
        started = [BIN / "torchrun", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        list(map(str, [*started, *words])),
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def scoring(model: object, weights: str, feed: Path, devices: int, rows: int) -> list[Any]:
    """Return how it was run, the headlines, headlines/s, the driver's share and the store's MB."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        engine = ["--engine", "ray", "--actors", devices] if devices > 1 else ["--engine", "local"]
        if not CUDA and devices == 1:
            # The local engine takes all cores; one actor with one core is the unit here.
            engine = ["--engine", "ray", "--actors", 1]
        told = command(
            ["--store", folder / "store.duckdb", "score", feed, "-o", folder / "out.parquet",
             "--model", model, "--weights", weights, "--limit", rows, *engine,
             "--summary", "json"],
            gpus=devices if CUDA else None, watched=folder / "watched.json",
        )  # fmt: skip
        watched = json.loads((folder / "watched.json").read_text("utf-8"))
    summary = json.loads(told)
    how = f"{summary['engine']}, {summary['actors'] or 1} scored"
    share = held = None
    if summary["engine"] == "ray":
        cpu = sum(watched["cpu"].get(stage, 0.0) for stage in SCORING)
        share, held = cpu / summary["seconds"]["score"], watched["object_store_mb"]
    scored = summary["rows"]["unique_scored"]
    return [how, scored, summary["headlines_per_second"], share, held]


def training(base: Path, split: Path, batch: int, devices: int, steps: int) -> list[Any]:
    """Return how it was run, the rows of all steps, and rows/s while training."""
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch) / "found.json"
        script = Path(__file__).with_name("train_steps.py")
        run(
            [script, found, base, split, "--batch", batch, "--steps", steps],
            processes=devices, gpus=devices if CUDA else None,
        )  # fmt: skip
        told = json.loads(found.read_text("utf-8"))
    rows = told["steps"] * batch
    return [f"{devices} processes", rows, told["samples_per_second"], None, None]


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


def ways(given: argparse.Namespace) -> dict[str, Callable[[int], list[Any]]]:
    """Return each way of scoring or training by its name; it takes the number of devices."""
    shape = SHAPE_TINY if given.tiny else SHAPE_7B
    base = make_base(given.checkpoint / "base", given.data / "llama2_tokenizer", shape)
    feed = given.data / "feeds" / "reuters_2013.parquet"
    found: dict[str, Callable[[int], list[Any]]] = {}
    if "scoring" in given.parts:
        model = make_adapter(given.checkpoint / "adapter", base)
        for weights in given.weights:
            found[f"scoring, {weights}"] = lambda n, w=weights: scoring(
                model, w, feed, n, given.rows
            )
    if "mini" in given.parts:
        found["scoring, mini"] = lambda n: scoring("mini", "auto", feed, n, given.rows)
    if "training" in given.parts:
        split = split_of(given.data, given.checkpoint / "split", 8 if given.tiny else 300)
        for batch in given.batches:
            found[f"training, {batch} rows a step"] = lambda n, b=batch: training(
                base, split, b, n, given.steps
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--weights", nargs="+", default=["nf4", "fp8"] if CUDA else ["auto"])
    parser.add_argument("--rows", type=int, default=700_000, help="of the feed")
    parser.add_argument(
        "--headlines", type=int, default=500_000,
        help="distinct ones that are scored at least, so that starting does not decide",
    )  # fmt: skip
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32, 64])
    parser.add_argument("--steps", type=int, default=80, help="of a training")
    parser.add_argument("--parts", nargs="+", default=["scoring", "mini", "training"])
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    rows = []
    for name, way in ways(given).items():
        first = None
        for devices in given.devices:
            how, done, rate, share, held = way(devices)
            if name.startswith("scoring") and not given.tiny and done < given.headlines:
                sys.exit(f"{done} distinct headlines, not {given.headlines}: give more --rows")
            first = first or rate
            rows.append([name, devices, how, done, rate, rate / first, share, held])
            print(json.dumps(rows[-1]), flush=True)
    columns = ["part", "GPUs" if CUDA else "CPU actors", "how", "rows", "rows/s", "times the first",
               "driver", "object store MB"]  # fmt: skip
    emit("scale_out", columns, rows, device=torch.cuda.get_device_name() if CUDA else "cpu")


if __name__ == "__main__":
    main()
