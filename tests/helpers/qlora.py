"""What the tests of causal training share: a small split, a fast command, a killed process."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from .forks import COMMAND, Popen

FAST = (
    "--num-train-epochs", 3, "--learning-rate", "5e-3", "--lora-r", 4, "--threads", 1,
    "--per-device-train-batch-size", 8, "--gradient-accumulation-steps", 1,
)  # fmt: skip


def save_split(folder: Path) -> Path:
    """Save forty-eight headlines whose label their verb tells, in three splits without overlap."""
    verbs = {"positive": "rises", "negative": "falls", "neutral": "posts"}
    rows = [
        (f"{who} {verb} {amount}", label)
        for who in ("nokia", "bank", "oil", "sales")
        for label, verb in verbs.items()
        for amount in ("profit", "shares", "jobs", "loss")
    ]
    folder.mkdir()
    parts = {"train": rows[:24] + rows[36:], "valid": rows[24:30], "test": rows[30:36]}
    for name, part in parts.items():
        pl.DataFrame(part, schema=["headline", "label"], orient="row").write_parquet(
            folder / f"{name}.parquet"
        )
    return folder


def arguments(split: Path, base: Path, output: Path, *more: object) -> list[str]:
    """Return the command line of a training; 36 rows in batches of 8 are 5 steps an epoch."""
    given = ("--data", split, "--base", base, "-o", output, *FAST, *more)
    return ["-q", "train", "--preset", "llama2-7b", *map(str, given)]


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def signalled(
    command: list[str], folder: Path, when: Callable[[], object], number: int
) -> tuple[int, str]:
    """Run a command in a process, send it a signal as soon as `when` holds; gives code, stderr."""
    process = Popen([COMMAND, *command], cwd=folder, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not when():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, number)
    error = process.communicate()[1]
    return process.returncode, error


def kill(command: list[str], folder: Path, when: Callable[[], object]) -> None:
    """Run a command in a process of its own and kill it as soon as `when` holds."""
    assert signalled(command, folder, when, signal.SIGKILL)[0] == -signal.SIGKILL
