"""The N-th file operation is the last, or fails, for every N and every command that writes.

    python benchmarks/fault_sweep.py --every 1            # all operations, killed and failing
    python benchmarks/fault_sweep.py --kills 1000         # at random times instead

After each fault every result is the earlier or the new one, whole; no score is gone or there
twice; the same command then ends well with the table of a run that was never disturbed, and
leaves no file of its own behind. A failing call ends in one line and an exit code, or in the
new result. Exit code 1 if not. A C compiler is needed; processes are forked, so that what they
import is loaded once.
"""

import argparse
import ctypes
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
COUNT, KILL, FAIL, FAIL_ON = range(4)
NUMBERS = (errno.EIO, errno.ENOSPC)
COLUMNS = ("faults", "lost", "doubled", "torn", "stale", "tracebacks", "failed after", "left")


def with_library(scratch: Path) -> None:
    """Start this program again with the library of faults in front of the C library."""
    library = scratch / "faults.so"
    source = Path(__file__).with_name("file_faults.c")
    compile_ = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(compile_, check=True)
    settings = {"LD_PRELOAD": str(library), "FINSENT_SWEEP": str(scratch), "OMP_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
                "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    done = subprocess.run([sys.executable, *sys.argv], env={**os.environ, **settings}, check=False)
    shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(done.returncode)


def load_all() -> None:
    """Import what commands import, lest each forked process does."""
    import importlib

    for name in (
        "duckdb", "polars", "pyarrow.parquet", "pyarrow.csv", "sklearn.model_selection", "peft",
        "matplotlib.pyplot", "trl", "finsent_batch.jobs.cli", "finsent_batch.pipeline.score",
        "finsent_batch.scorers.encoder.scorer", "finsent_batch.scorers.causal.scorer",
        "finsent_batch.training.encoder", "finsent_batch.training.merge",
        "finsent_batch.reports.run_report", "finsent_batch.evaluation.evaluate",
        "finsent_batch.evaluation.compare", "finsent_batch.evaluation.promote",
        "finsent_batch.store.compact", "finsent_batch.store.export",
        "finsent_batch.labelled.splits",
    ):  # fmt: skip
        try:
            importlib.import_module(name)
        except ImportError:
            continue


class Trial:
    """One command in one folder that can be put back to where it started."""

    def __init__(self, command, start: Path, folder: Path) -> None:
        from faulty_commands import look, scores

        self.command, self.start, self.folder = command, start, folder
        self.look = lambda: look(folder, command.result) if command.result else ""
        self.scores = lambda: scores(folder)
        self.reset()
        self.earlier, self.had = forked(self.look), forked(self.scores)
        self.operations = self.run(COUNT)[1]
        self.new, self.has = forked(self.look), forked(self.scores)
        self.files = names(folder)
        self.found: Counter[str] = Counter(dict.fromkeys(COLUMNS, 0))
        self.notes: list[str] = []

    def reset(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.start, self.folder, symlinks=True)

    def run(self, mode: int, n: int = 0, number: int = 0, seconds: float | None = None):
        """Return exit code, the number of operations and stderr of the command under a fault."""
        return run_forked(self.folder, self.command.arguments, mode, n, number, seconds)

    def fault(self, what: str, **fault) -> bool:
        """Disturb the command once, look, run it again; False if it ended undisturbed."""
        self.reset()
        code, _, err = self.run(**fault)
        if fault["mode"] in (COUNT, KILL) and code == 0:
            return False
        found, now, keys = self.found, forked(self.look), forked(self.scores)
        problems = {
            "faults": 1,
            "torn": now not in (self.earlier, self.new),
            "lost": not set(self.had) <= set(keys),
            "doubled": len(keys) != len(set(keys)),
            "tracebacks": "Traceback" in err or code == 1,
            "stale": code == 0 and now != self.new,
        }
        if not (self.command.name == "store export" and now == self.new):  # 73: it is there
            again, _, err_again = self.run(COUNT)
            after = forked(self.scores)
            problems["failed after"] = again != 0
            problems["stale"] |= forked(self.look) != self.new
            problems["lost"] |= set(after) != set(self.has)
            problems["doubled"] |= len(after) != len(set(after))
            err += err_again
        problems["left"] = bool(names(self.folder) - self.files)
        found.update({name: int(value) for name, value in problems.items()})
        if any(value for name, value in problems.items() if name != "faults"):
            left = sorted(names(self.folder) - self.files)
            wrong = [name for name, value in problems.items() if value and name != "faults"]
            self.notes.append(
                f"{self.command.name}, {what}: {wrong} {now[:90]} {left} {err[-400:]}"
            )
        return True


def names(folder: Path) -> set[str]:
    """Return what lies in a folder, logs and logs of DuckDB left aside."""
    found = {str(p.relative_to(folder)) for p in folder.rglob("*")}
    return {n for n in found if not n.endswith(".wal") and "/logs" not in n}


def forked(function):
    """Call a function in a process of its own and return what it returns, as JSON."""
    import json

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(function()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text)


def run_forked(folder: Path, arguments, mode=COUNT, n=0, number=0, seconds=None):
    """Run a command line in a forked process, under a fault; see `Trial.run`."""
    reading, writing = os.pipe()
    log = folder.with_suffix(".stderr")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            for target, name in ((1, os.devnull), (2, str(log))):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), target)
            library = ctypes.CDLL(None)
            library.faults_arm(os.fsencode(f"{folder}/"), mode, n, number)
            from finsent_batch.jobs.cli import run

            code = run(list(arguments))
        except BaseException:  # noqa: BLE001 - a bug is what is looked for
            import traceback

            traceback.print_exc()
        finally:
            os.write(writing, str(library.faults_count()).encode())
            os._exit(code)
    os.close(writing)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as stream:
        counted = int(stream.read() or 0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), counted, log.read_text(errors="replace")


def make_start(scratch: Path, command, work: Path) -> Path:
    """Return a folder in which the command has done its work for earlier, shorter inputs."""
    from faulty_commands import write_inputs

    start = scratch / "start"
    for folder in (start, work):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(scratch / "models", work)
    steps = [command.earlier or command.arguments]
    if command.name.startswith(("query", "report", "store", "models")):
        steps.insert(0, SCORE)
    forked(lambda: write_inputs(work, 24))
    if command.name == "store import":
        steps = [SCORE, ("store", "export", "-o", "other")]
    for step in steps:
        must(work, step)
    if command.name == "store import":
        (work / "finsent.duckdb").unlink()
    forked(lambda: write_inputs(work, 40))
    if command.name.startswith(("query", "report", "store compact")):
        must(work, SCORE)
    shutil.copytree(work, start, symlinks=True)
    return start


SCORE = ("-q", "score", "feed.parquet", "-o", "o.parquet", "--model", "model", "--weights", "fp32")


def must(folder: Path, arguments) -> None:
    code, _, err = run_forked(folder, arguments)
    if code:
        raise SystemExit(f"{' '.join(arguments)}: exit code {code}: {err}")


def sweep(trial: Trial, every: int, draw: random.Random, kills: int) -> None:
    """Go through the operations, or kill at random times where `kills` are asked for."""
    if kills:
        begun = time.monotonic()
        trial.reset()
        trial.run(COUNT)
        whole, done, tried = time.monotonic() - begun, 0, 0
        while done < kills and tried < 4 * kills:
            tried += 1
            seconds = draw.uniform(0, whole)
            done += trial.fault(f"killed after {seconds:.3f} s", mode=KILL, seconds=seconds)
        return
    first = draw.randint(1, every)
    for i, n in enumerate(range(first, trial.operations + 1, every)):
        trial.fault(f"operation {n} was the last", mode=KILL, n=n)
        number = NUMBERS[i % 2]
        mode = FAIL_ON if i % 4 > 1 else FAIL
        trial.fault(f"operation {n} failed ({mode}, {number})", mode=mode, n=n, number=number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="only every so manieth operation")
    parser.add_argument("--kills", type=int, default=0, help="kills at random times instead")
    parser.add_argument("--commands", default="", help="only those whose names begin so, by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=None, help="folder of the JSON")
    arguments = parser.parse_args()
    if "FINSENT_SWEEP" not in os.environ:
        with_library(Path(tempfile.mkdtemp(prefix="fault-sweep-")))
    load_all()
    from faulty_commands import commands, make_models
    from report import RESULTS, emit

    scratch, draw = Path(os.environ["FINSENT_SWEEP"]), random.Random(arguments.seed)
    (scratch / "models").mkdir()
    wanted = tuple(arguments.commands.split(",")) if arguments.commands else ("",)
    chosen = [c for c in commands() if c.name.startswith(wanted)]
    work = scratch / "work"
    # The base's path is in the adapters' cards: it is that of the folder they are used in.
    work.mkdir()
    forked(lambda: make_models(work))
    work.rename(scratch / "models.made")
    shutil.rmtree(scratch / "models")
    (scratch / "models.made").rename(scratch / "models")
    rows = []
    for command in chosen:
        trial = Trial(command, make_start(scratch, command, work), work)
        kills = -(-arguments.kills // len(chosen))
        sweep(trial, arguments.every, draw, kills)
        rows.append([command.name, trial.operations, *(trial.found[name] for name in COLUMNS)])
        print(rows[-1], *trial.notes, sep="\n", file=sys.stderr, flush=True)
    sums = [sum(row[i] for row in rows) for i in range(1, len(COLUMNS) + 2)]
    name = "fault_kills" if arguments.kills else "fault_sweep"
    emit(name, ["command", "operations", *COLUMNS], [*rows, ["all", *sums]],
         results=arguments.results or RESULTS, seed=arguments.seed)  # fmt: skip
    sys.exit(bool(any(sums[2:])))


if __name__ == "__main__":
    main()
