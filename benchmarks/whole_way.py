"""The whole way of a 7B model in one run: train, evaluate against the base, merge, score with both.

    python benchmarks/whole_way.py ../shared/data --checkpoint /tmp/llama

Makes the Llama-2-7B-shaped checkpoint with random weights if it is not there; `--base` takes
a real one, with which the accuracies mean something. Each step is a command in a process of
its own, as a user types it. `--tiny` checks the script on a CPU.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch
from llama_checkpoint import SHAPE_7B, SHAPE_TINY, make_base
from report import emit

COMMAND = Path(sys.executable).parent / "finsent-batch"
CUDA = torch.cuda.is_available()


class Way:
    """The commands one after the other, in one folder; remembers how long each took."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: list[list[Any]] = []

    def run(self, name: str, *arguments: object) -> str:
        """Run finsent-batch, note its seconds and return what it printed; exit where it fails."""
        begun = time.perf_counter()
        words = [COMMAND, "--quiet", *arguments]
        done = subprocess.run(
            list(map(str, words)), cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{name}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        self.rows.append([name, time.perf_counter() - begun, ""])
        print(self.rows[-1], file=sys.stderr, flush=True)
        return done.stdout

    def note(self, result: str) -> None:
        """Say what came of the last command."""
        self.rows[-1][2] = result


def accuracies(folder: Path) -> str:
    """Return the accuracies of the model and of what it was held against."""
    report = json.loads((folder / "report" / "metrics.json").read_text("utf-8"))
    return f"accuracy {report['accuracy']:.3f}, the base's {report['against']['accuracy']:.3f}"


def scored(way: Way, feed: Path, model: str, rows: int) -> pl.DataFrame:
    """Score a feed in a fresh store; return its labels."""
    output = way._folder / f"{model}.parquet"
    told = way.run(
        f"score with the {model}", "--store", f"{model}.duckdb", "score", feed, "-o", output,
        "--model", model, "--limit", rows, "--summary", "json",
    )  # fmt: skip
    summary = json.loads(told)
    way.note(f"{summary['headlines_per_second']:,.0f} headlines/s in {summary['weights']}")
    return pl.read_parquet(output, columns=["sentiment"])


def walk(way: Way, folder: Path, given: argparse.Namespace, base: Path) -> None:
    """Go all the way."""
    data, feed = given.data, given.data / "feeds" / "reuters_2013.parquet"
    way.run("prepare", "prepare", data / "phrasebank/Sentences_50Agree.txt", "-o", "split",
            "--recipe", "tutorial")  # fmt: skip
    if given.tiny:
        for part in (folder / "split").glob("*.parquet"):
            pl.read_parquet(part).group_by("label", maintain_order=True).head(8).write_parquet(part)
    quantized = [] if CUDA else ["--quantisation", "none"]
    way.run("train", "train", "--preset", "llama2-7b", "--base", base, "--data", "split", "-o",
            "adapter", "--num-train-epochs", given.epochs, *quantized)  # fmt: skip
    log = json.loads((folder / "adapter" / "training_log.json").read_text("utf-8"))
    found = next(entry for entry in log if "train_runtime" in entry)
    way.note(f"{found['train_samples_per_second']:.1f} samples/s, {found['train_runtime']:.0f} s")
    way.run("evaluate against the base", "evaluate", "--model", "adapter", "--against", base,
            "--data", "split/test.parquet", "-o", "report")  # fmt: skip
    way.note(accuracies(folder))
    way.run("merge", "merge", "adapter", "-o", "merged")
    labels = [scored(way, feed, model, given.rows) for model in ("adapter", "merged")]
    same = (labels[0]["sentiment"] == labels[1]["sentiment"]).mean()
    way.rows.append(["labels of both equal", 0.0, f"{same:.2%} of {labels[0].height:,} rows"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    given.data = given.data.resolve()
    shape = SHAPE_TINY if given.tiny else SHAPE_7B
    base = given.base or make_base(
        given.checkpoint.resolve() / "base", given.data / "llama2_tokenizer", shape
    )
    with tempfile.TemporaryDirectory() as scratch:
        way = Way(Path(scratch))
        walk(way, Path(scratch), given, base)
    device = torch.cuda.get_device_name() if CUDA else "cpu"
    emit("whole_way", ["step", "seconds", "result"], way.rows, device=device)


if __name__ == "__main__":
    main()
