"""The N-th file operation is the last, or fails, for every N and every command that writes.

    python benchmarks/fault_sweep.py            # minutes a command
    python benchmarks/fault_sweep.py --every 1  # every operation of every command: hours

Each operation is tried, as the last and as one that fails, of commands with up to 60 of them; of
the others every second, third and so on from a random first one, which makes 30 to 60. `tried`
beside `operations` says how many.

A library in front of the C library counts the operations on the files of one folder, and ends
the process just before the N-th or lets it fail. After each fault every result is the earlier or
the new one, whole; no score is gone or there twice; the same command then ends well with the
result of a run that was never disturbed, and leaves no file of its own behind. A failing call
ends in one line and an exit code, or in the new result. Exit code 1 if not. A C compiler is
needed. Runs are forked, see `trials.py`.
"""

import argparse
import ctypes
import errno
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
TRIED = 60
"""How many operations of a command are tried at most, unless told otherwise."""
COUNT, KILL, FAIL, FAIL_ON = range(4)
NUMBERS = (errno.EIO, errno.ENOSPC)
SCRATCH = "FINSENT_SWEEP"


def with_library(scratch: Path) -> None:
    """Start this program again with the library of faults in front of the C library."""
    from trials import SETTINGS

    library = scratch / "faults.so"
    source = Path(__file__).with_name("file_faults.c")
    compile_ = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(compile_, check=True)
    settings = {**SETTINGS, "LD_PRELOAD": str(library), SCRATCH: str(scratch)}
    done = subprocess.run([sys.executable, *sys.argv], env={**os.environ, **settings}, check=False)
    shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(done.returncode)


def arming(folder: Path, mode: int, n: int = 0, number: int = 0) -> Callable[[], None]:
    """Return what a child calls to have the fault at its n-th operation on the folder."""
    where = os.fsencode(f"{folder}/")
    return lambda: ctypes.CDLL(None).faults_arm(where, mode, n, number)


def counted() -> int:
    """Return the number of operations that this process has done since it was armed."""
    return int(ctypes.CDLL(None).faults_count())


def sweep(command, models: Path, work: Path, every: int | None, draw: random.Random) -> tuple:
    """Go through the operations of a command; the trial, how many were tried, and the faults."""
    from trial_starts import make_start
    from trials import Trial

    start = make_start(models, command, work)
    trial = Trial(command, start, work, arm=arming(work, COUNT), told=counted)
    faults, every = 0, every or math.ceil(trial.whole.told / TRIED)
    tried = range(draw.randint(1, every), trial.whole.told + 1, every)
    for i, n in enumerate(tried):
        failing = FAIL_ON if i % 4 > 1 else FAIL
        for mode, number in ((KILL, 0), (failing, NUMBERS[i % 2])):
            what = f"operation {n} " + (f"failed ({mode}, {number})" if number else "was the last")
            trial.reset()
            ended = trial.run(arm=arming(work, mode, n, number))
            if mode == KILL and ended.code == 0:
                continue
            faults += 1
            trial.judge(what, ended, last=False)
            trial.end(what)
    return trial, len(tried), faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, help="only every so manieth operation; 1 is each")
    parser.add_argument("--commands", default="", help="only those whose names begin so, by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=None, help="folder of the JSON")
    arguments = parser.parse_args()
    if SCRATCH not in os.environ:
        with_library(Path(tempfile.mkdtemp(prefix="fault-sweep-")))
    from faulty_commands import commands
    from report import RESULTS, emit
    from trial_starts import made_models
    from trials import FINDINGS, load_all

    load_all()
    scratch, draw = Path(os.environ[SCRATCH]), random.Random(arguments.seed)
    models = made_models(scratch)
    rows = []
    for command in commands(arguments.commands):
        trial, tried, faults = sweep(command, models, scratch / "work", arguments.every, draw)
        counts = (trial.found[name] for name in FINDINGS)
        rows.append([command.name, trial.whole.told, tried, faults, *counts])
        print(rows[-1], *trial.notes, sep="\n", file=sys.stderr, flush=True)
    sums = [sum(row[i] for row in rows) for i in range(1, len(FINDINGS) + 4)]
    columns = ["command", "operations", "tried", "faults", *FINDINGS]
    emit("fault_sweep", columns, [*rows, ["all", *sums]],
         results=arguments.results or RESULTS, seed=arguments.seed)  # fmt: skip
    sys.exit(bool(any(sums[3:])))


if __name__ == "__main__":
    main()
