"""Kill every command that writes with SIGKILL; what is found then, and after the next run.

    python benchmarks/kill_recovery.py --kills 1000

Half of the kills come at a random moment of the run, half at a named place of it
(`finsent_batch/failpoints.py`) where it passes any; the run after a kill is often killed too, up
to three times in a row, before it may end. After each kill every result must be the earlier or
the new one, whole, and no committed score may be gone or there twice; at the end the result must
be that of a run that was never disturbed, and no file may be left. Exit code 1 if not. Ctrl-C or
SIGTERM ends it early, with the table of what was killed until then.

The processes and kills are real, but forked from one that has imported everything, so that a
kill costs a second and not ten (see `trials.py`); the models are tiny and have random weights,
the inputs 40 rows. The start of Python and of torch is therefore not under the kills.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
IN_A_ROW = 3
_passed: list[str] = []


class _Trace:
    """Stands among the armed failpoints of a child and keeps the places that it passes."""

    def reach(self, place: str) -> None:
        _passed.append(place)


def trace() -> None:
    """Keep the places that this process passes in `_passed`."""
    from finsent_batch import failpoints

    failpoints.armed.append(_Trace())  # type: ignore[arg-type]


def at_place(text: str) -> Callable[[], None]:
    """Return what a child calls to be killed at a named place, such as `batch:kill:2`."""
    from finsent_batch import failpoints

    return lambda: failpoints.armed.append(failpoints.Failpoint(text))


def disturb(trial, draw: random.Random, kills: int) -> int:
    """Kill a run up to `kills` times in a row, then let it end; returns the kills that hit."""
    places = list(Counter(trial.whole.told).items())
    trial.reset()
    hit, what = 0, ""
    for _ in range(kills):
        if places and draw.random() < 0.5:
            place, times = draw.choice(places)
            what = f"{place}:kill:{draw.randint(1, times)}"
            ended = trial.run(arm=at_place(what))
        else:
            seconds = draw.uniform(0, trial.seconds)
            what = f"killed after {seconds:.3f} s"
            ended = trial.run(seconds=seconds)
        if ended.code == 0:
            break
        hit += 1
        trial.judge(what, ended, last=False)
    if hit:
        trial.end(what)
    return hit


def show(line: str) -> None:
    """Show on a terminal how far it is."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="\r", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--commands", default="", help="only those whose names begin so, by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=None, help="folder of the JSON")
    arguments = parser.parse_args()
    from trials import SETTINGS

    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        command = [sys.executable, *sys.argv]
        sys.exit(subprocess.run(command, env={**os.environ, **SETTINGS}, check=False).returncode)
    from faulty_commands import commands
    from report import RESULTS, emit
    from trial_starts import made_models, make_start
    from trials import FINDINGS, Trial, load_all

    load_all()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: list[list[Any]] = []
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        draw, models = random.Random(arguments.seed), made_models(Path(scratch))
        chosen = commands(arguments.commands)
        shares = [arguments.kills * i // len(chosen) for i in range(len(chosen) + 1)]
        for command, begin, end in zip(chosen, shares, shares[1:], strict=False):
            start = make_start(models, command, Path(scratch) / "work")
            trial = Trial(command, start, Path(scratch) / "work", arm=trace, told=lambda: _passed)
            rows.append([command.name, 0, *(0 for _ in FINDINGS)])
            while (left := end - begin - rows[-1][1]) > 0:
                rows[-1][1] += disturb(trial, draw, min(left, draw.randint(1, IN_A_ROW)))
                rows[-1][2:] = (trial.found[name] for name in FINDINGS)
                show(f"{command.name}: {rows[-1][1]} of {end - begin} kills")
            print(rows[-1], *trial.notes, sep="\n", file=sys.stderr, flush=True)
    sums = [sum(row[i] for row in rows) for i in range(1, len(FINDINGS) + 2)]
    emit("kill_recovery", ["command", "kills", *FINDINGS], [*rows, ["all", *sums]],
         results=arguments.results or RESULTS, seed=arguments.seed)  # fmt: skip
    sys.exit(bool(any(sums[1:])))


if __name__ == "__main__":
    main()
