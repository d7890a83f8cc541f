"""Two writers and two readers on one output and one store, for as long as is asked.

    python benchmarks/shared_outputs.py --seconds 60

The writers label one input with two models, again and again, into one output: first each with a
store of its own, so that nothing but the output keeps them apart, then with one store. Meanwhile
the readers read the output and the store. Every read of the output must be what one of the two
models gives, whole; the store must never lose a score or hold one twice. A run ends with 0 or,
where the other one is in its way, with 75. Exit code 1 if not. Runs are forked, see `trials.py`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
OUTPUTS = ("o.parquet", "o.csv", "o.duckdb")
COLUMNS = ("runs", "ended with 75", "failed", "reads", "torn", "lost", "doubled")


def started(function: Callable[[], Counter[str]], note: Path) -> int:
    """Call a function in a process of its own, which leaves what it counted in a file."""
    child = os.fork()
    if child == 0:
        found = Counter({"failed": 1})
        try:
            found = function()
        finally:
            note.write_text(json.dumps(found))
            os._exit(0)
    return child


def writer(folder: Path, arguments: tuple[str, ...], until: float, log: Path) -> Counter[str]:
    """Run a command line again and again."""
    from trials import run_forked

    found: Counter[str] = Counter()
    while time.monotonic() < until:
        ended = run_forked(folder, arguments, log=log)
        found["runs"] += 1
        found["ended with 75"] += ended.code == 75
        if ended.code not in (0, 75):
            found["failed"] += 1
            print(arguments, ended, file=sys.stderr, flush=True)
    return found


def reader(folder: Path, output: str, store: str, wholes: set[str], until: float) -> Counter[str]:
    """Read the output and the store again and again."""
    from command_results import look_at, scores

    found: Counter[str] = Counter()
    known: set[str] = set()
    while time.monotonic() < until:
        seen = look_at(folder, output)
        if "lock" in seen.lower():
            continue  # DuckDB lets nobody in while a table is written
        found["reads"] += 1
        if seen not in wholes:
            found["torn"] += 1
            print(f"torn: {output}: {seen}", file=sys.stderr, flush=True)
        try:
            keys = [key.rpartition(" ")[0] for key in scores(folder / store)]
        except Exception as error:  # noqa: BLE001 - torn, or locked, which it never is
            found["torn"] += 1
            print(f"torn: {store}: {error}", file=sys.stderr, flush=True)
            continue
        found["doubled"] += len(keys) - len(set(keys))
        found["lost"] += len(known - set(keys))
        known = set(keys)
    return found


def contend(work: Path, output: str, stores: tuple[str, str], seconds: float) -> Counter[str]:
    """Let two writers and two readers at one output; returns what they counted together."""
    from command_results import look_at
    from faulty_commands import MODEL
    from trials import forked, run_forked

    commands, wholes = [], set()
    for model, store in zip(("model", "model2"), stores, strict=True):
        how = ("--model", model, *MODEL[2:], "--overwrite", "--commit-seconds", "0")
        begin = ("-q", "--store", store, "--lock-wait", "1")
        commands.append((*begin, "score", "feed.parquet", "-o", output, *how))
        ended = run_forked(work, commands[-1])
        if ended.code:
            raise SystemExit(f"{commands[-1]}: {ended}")
        wholes.add(forked(lambda: look_at(work, output)))
    until = time.monotonic() + seconds
    tasks: list[Callable[[], Counter[str]]] = [
        *(lambda c=c, i=i: writer(work, c, until, work.parent / f"{i}.stderr")
          for i, c in enumerate(commands)),
        *(lambda s=s: reader(work, output, s, wholes, until) for s in stores),
    ]  # fmt: skip
    notes = [work.parent / f"{i}.json" for i in range(len(tasks))]
    children = [started(task, note) for task, note in zip(tasks, notes, strict=True)]
    for child in children:
        os.waitpid(child, 0)
    return sum((Counter(json.loads(note.read_text())) for note in notes), Counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of all outputs together")
    parser.add_argument("--outputs", default=",".join(OUTPUTS))
    parser.add_argument("--results", type=Path, default=None, help="folder of the JSON")
    arguments = parser.parse_args()
    from trial_starts import made_models
    from trials import SETTINGS, load_all

    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        command = [sys.executable, *sys.argv]
        sys.exit(subprocess.run(command, env={**os.environ, **SETTINGS}, check=False).returncode)
    from faulty_commands import write_inputs
    from report import RESULTS, emit
    from trials import forked

    load_all()
    rows = []
    with tempfile.TemporaryDirectory(prefix="shared-") as scratch:
        models, work = made_models(Path(scratch)), Path(scratch) / "work"
        cases = [(output, stores) for stores in (("a.duckdb", "b.duckdb"), ("s.duckdb", "s.duckdb"))
                 for output in arguments.outputs.split(",")]  # fmt: skip
        for output, stores in cases:
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(models, work)
            forked(lambda: write_inputs(work, 40))
            found = contend(work, output, stores, arguments.seconds / len(cases))
            what = f"{output[2:]}, {len(set(stores))} store{'s' * (len(set(stores)) > 1)}"
            rows.append([what, *(found[name] for name in COLUMNS)])
            print(rows[-1], file=sys.stderr, flush=True)
    sums = [sum(row[i] for row in rows) for i in range(1, len(COLUMNS) + 1)]
    emit("shared_outputs", ["output", *COLUMNS], [*rows, ["all", *sums]],
         results=arguments.results or RESULTS, seconds=arguments.seconds)  # fmt: skip
    wrong = dict(zip(COLUMNS, sums, strict=True))
    sys.exit(bool(any(wrong[name] for name in ("failed", "torn", "lost", "doubled"))))


if __name__ == "__main__":
    main()
