"""Folders in which the benchmarks of faults and kills start: models, inputs, earlier results."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import buckets
from faulty_commands import (
    MODEL,
    SAMPLE,
    STORE,
    Command,
    fill_sample,
    make_models,
    write_inputs,
)  # fmt: skip
from trials import forked, run_forked

SCORE = ("-q", "score", "feed.parquet", "-o", "o.parquet", *MODEL)


def made_models(scratch: Path) -> Path:
    """Make the models in `scratch/work`, whose path the adapters name, and lay them beside."""
    work, models = scratch / "work", scratch / "models"
    work.mkdir()
    forked(lambda: make_models(work))
    work.rename(models)
    return models


def make_start(models: Path, command: Command, work: Path) -> Path:
    """Return a folder in which the command has done its work for earlier, shorter inputs."""
    start = work.with_name("start")
    buckets.begin(command.result)
    for folder in (start, work):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(models, work)
    steps = [command.earlier or command.arguments]
    reads_store = command.name.startswith(("query", "report", "review", "store", "models"))
    if reads_store:
        steps.insert(0, SCORE)
    forked(lambda: write_inputs(work, 24))
    if command.name == "store import":
        steps = [SCORE, ("store", "export", "-o", "other")]
    if command.name.startswith("train"):
        steps.insert(0, ("prepare", "labelled.csv", "-o", "split"))
    if command.name == "review import":
        steps = [SCORE, SAMPLE]
    for step in steps:
        _must(work, step)
    if command.name == "review import":
        forked(lambda: fill_sample(work, "neutral"))
        _must(work, command.arguments)
    if command.name == "store import":
        for name in (STORE, f"{STORE}.working"):
            (work / name).unlink()
    forked(lambda: write_inputs(work, 40))
    if command.name.startswith(("query", "report", "review", "store compact")):
        _must(work, SCORE)
    if command.name == "review import":
        _must(work, SAMPLE)
        forked(lambda: fill_sample(work, "positive"))
    shutil.copytree(work, start, symlinks=True)
    buckets.keep(command.result)
    return start


def _must(folder: Path, arguments: Sequence[str]) -> None:
    ended = run_forked(folder, arguments)
    if ended.code:
        raise SystemExit(f"{' '.join(arguments)}: exit code {ended.code}: {ended.err}")
