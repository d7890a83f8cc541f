"""Where the seconds of a first night go, stage by stage, beside `transformers.pipeline`.

    python benchmarks/startup.py ../shared/data

Both score the same night with the same weights in a process of their own: `score` with `mini` and
a fresh store, then again with the store it left; and a script that loads the model with
transformers and peft, runs the pipeline in batches of 32 and writes the labels. Seconds are by the
clock and of the CPU. Also: how long `--help` takes, and which heavy libraries it loads (none).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from report import emit

HEAVY = ("torch", "transformers", "polars", "duckdb", "pyarrow", "sklearn", "numpy")
NIGHT = "2014-01-06.parquet"
Mark = Callable[[str], None]
Stages = dict[str, tuple[float, float]]
"""Seconds by the clock and of the CPU, by stage."""


def seconds(command: list[str]) -> float:
    """Return a process's wall time."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def ours(mark: Mark, night: str, scratch: str) -> None:
    """Run `score` as the command does, and note when each of its stages ends."""
    from finsent_batch.jobs.cli import run

    from finsent_batch.pipeline import score, score_stage

    mark("start of process")
    load, plan, publish = score_stage.load_scorer, score.make_plan, score.publish_tasks

    def planned(*given, **named):
        mark("open store and model")
        return plan(*given, **named)

    def loaded(*given, **named):
        mark("plan")
        import torch  # noqa: F401

        mark("import libraries")
        scorer = load(*given, **named)
        mark("load model")
        return scorer

    def published(*given, **named):
        mark("score")
        publish(*given, **named)

    score_stage.load_scorer, score.make_plan, score.publish_tasks = loaded, planned, published
    output, store = Path(scratch) / "out.parquet", Path(scratch) / "store.duckdb"
    assert run(["--store", str(store), "score", night, "-o", str(output), "--model", "mini"]) == 0
    mark("publish")


def theirs(mark: Mark, night: str, scratch: str) -> None:
    """Do the same as a short script does it."""
    import polars as pl

    mark("start of process")
    import peft  # noqa: F401
    from transformers import AutoTokenizer, pipeline

    mark("import libraries")
    from finsent_batch.models.directory import open_model
    from finsent_batch.scorers.encoder.model import load_classifier

    spec = open_model("mini")
    tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer, local_files_only=True)
    tokenizer.model_max_length = spec.max_length
    classify = pipeline("text-classification", model=load_classifier(spec), tokenizer=tokenizer)
    mark("load model")
    rows = pl.read_parquet(night)
    texts = rows["headline"].fill_null("").to_list()
    labels = [found["label"] for found in classify(texts, batch_size=32, truncation=True)]
    mark("score")
    rows.with_columns(sentiment=pl.Series(labels)).write_parquet(Path(scratch) / "out.parquet")
    mark("publish")


def child(way: str, night: str, scratch: str) -> None:
    marks: list[tuple[str, float, float]] = []

    def mark(stage: str) -> None:
        marks.append((stage, time.time(), time.process_time()))

    (theirs if way == "pipeline" else ours)(mark, night, scratch)
    (Path(scratch) / "marks.json").write_text(json.dumps(marks))
    if way != "pipeline":
        from finsent_batch.jobs.start import leave

        leave(0)  # as the command ends


def stages(way: str, night: Path, scratch: str) -> Stages:
    """Run one way in a process of its own."""
    begun = time.time()
    command = [sys.executable, __file__, "--child", way, str(night), scratch]
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **quiet})
    _, status, usage = os.wait4(process.pid, 0)
    ended, cpu = time.time(), usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{way} failed"
    found: Stages = {}
    before, spent = begun, 0.0
    marks = json.loads((Path(scratch) / "marks.json").read_text())
    for stage, at, used in [*marks, ("end of process", ended, cpu)]:
        found[stage] = at - before, used - spent
        before, spent = at, used
    found["all"] = ended - begun, cpu
    return found


def night(folder: Path, rounds: int) -> None:
    """Print the stages of each way, medians of alternating rounds."""
    ways = ("score, fresh store", "score, again", "pipeline")
    found: dict[str, list[Stages]] = {way: [] for way in ways}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            for way in ways:
                found[way].append(stages(way, folder / "feeds" / "nightly" / NIGHT, scratch))
    names = list(found[ways[0]][0])
    rows = []
    for name in names:
        row: list[object] = [name]
        for way in ways:
            for kind in (0, 1):
                seen = [one[name][kind] for one in found[way] if name in one]
                row.append(statistics.median(seen) if seen else "–")
        rows.append(row)
    columns = ["stage", *(f"{way}: {kind}" for way in ways for kind in ("s", "CPU s"))]
    emit("startup_night", columns, rows, rounds=rounds, night=NIGHT)


def help_pages(rounds: int) -> None:
    """Print how long the help takes."""
    command = str(Path(sys.executable).parent / "finsent-batch")
    rows = []
    for name, line in (
        ("python -c pass", [sys.executable, "-c", "pass"]),
        ("finsent-batch --help", [command, "--help"]),
        ("finsent-batch score --help", [command, "score", "--help"]),
    ):
        found = [seconds(line) for _ in range(rounds)]
        rows.append([name, statistics.median(found) * 1000, min(found) * 1000])
    code = (
        "import sys; from finsent_batch.jobs.cli import run; run(['--help']); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = [name for name in HEAVY if name in loaded]
    emit("startup", ["command", "median ms", "best ms"], rows, heavy_imports=heavy)
    print("heavy imports:", ", ".join(heavy) or "none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="shared data; without it --help alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    help_pages(5 * arguments.rounds)
    if arguments.data:
        night(arguments.data, arguments.rounds)


if __name__ == "__main__":
    main()
