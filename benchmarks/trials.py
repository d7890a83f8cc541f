"""What the benchmarks of faults and kills share: commands in forked processes, and judgements.

Importing torch takes seconds, so this process imports everything once and forks a child for each
run. A child is a process like any other: it opens its own files and threads, and a SIGKILL ends
it at once. What it does not repeat is the start of Python, which writes nothing.
"""

import gc
import importlib
import json
import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import buckets
from command_results import look, scores, without_run
from faulty_commands import STORE, Command

FINDINGS = ("lost", "doubled", "torn", "stale", "tracebacks", "failed after", "left")
_MODULES = (
    "duckdb", "polars", "pyarrow.parquet", "pyarrow.csv", "sklearn.model_selection", "peft",
    "matplotlib.pyplot", "trl", "finsent_batch.jobs.cli", "finsent_batch.pipeline.score",
    "finsent_batch.scorers.encoder.scorer", "finsent_batch.scorers.causal.scorer",
    "finsent_batch.training.encoder", "finsent_batch.training.merge",
    "finsent_batch.reports.run_report", "finsent_batch.evaluation.evaluate",
    "finsent_batch.evaluation.compare", "finsent_batch.evaluation.promote",
    "finsent_batch.store.compact", "finsent_batch.store.export",
    "finsent_batch.labelled.splits",
)  # fmt: skip
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""The environment in which this program starts itself, before anything is imported."""


def load_all() -> None:
    """Import what commands import, lest each forked process does."""
    for name in _MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page


def forked(function: Callable[[], Any]) -> Any:
    """Call a function in a process of its own and return what it returns, by way of JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = json.dumps(function()).encode()
            with os.fdopen(writing, "wb") as stream:
                stream.write(text)
        except BaseException:  # noqa: BLE001 - shown, and the parent then reads nothing
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text)


class Ended(NamedTuple):
    """How a command ended: its exit code, what `told` said at its end, and stderr."""

    code: int
    told: Any
    err: str


def run_forked(
    folder: Path,
    arguments: Sequence[str],
    *,
    arm: Callable[[], None] = lambda: None,
    told: Callable[[], Any] = lambda: None,
    seconds: float | None = None,
    log: Path | None = None,
) -> Ended:
    """Run a command line in a forked process, after `arm`; kill it after `seconds`."""
    reading, writing = os.pipe()
    log = log or folder.with_suffix(".stderr")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.chdir(folder)
            for target, name in ((1, os.devnull), (2, str(log))):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), target)
            arm()
            from finsent_batch.jobs.cli import run

            code = run(list(arguments))
        except BaseException:  # noqa: BLE001 - a bug is what is looked for
            traceback.print_exc()
        finally:
            os.write(writing, json.dumps(told()).encode())
            os._exit(code)
    os.close(writing)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    err = log.read_text(errors="replace") if log.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), json.loads(text or "null"), err)


class Trial:
    """One command in one folder that can be put back to where it started."""

    def __init__(
        self,
        command: Command,
        start: Path,
        folder: Path,
        *,
        arm: Callable[[], None] = lambda: None,
        told: Callable[[], Any] = lambda: None,
    ) -> None:
        self.command, self.start, self.folder = command, start, folder
        self.reset()
        self.earlier, self.had = self._seen()
        begun = time.monotonic()
        self.whole = self.run(arm=arm, told=told)
        self.seconds = time.monotonic() - begun
        if self.whole.code:
            raise SystemExit(f"{command.name}, undisturbed: {self.whole}")
        self.new, self.has = self._seen()
        self.files = names(folder)
        self.found: Counter[str] = Counter(dict.fromkeys(FINDINGS, 0))
        self.notes: list[str] = []

    def reset(self) -> None:
        """Put folder and bucket back to where they started; nothing is committed beyond that."""
        buckets.restore(self.command.result)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.start, self.folder, symlinks=True)
        self.committed: Collection[str] = getattr(self, "had", ())

    def run(self, **fault: Any) -> Ended:
        """Run the command; see `run_forked`."""
        return run_forked(self.folder, self.command.arguments, **fault)

    def _seen(self, *, last: bool = True) -> tuple[dict[str, str], list[str]]:
        """Return digests of the results, and the scores: committed or, in the end, published."""
        from finsent_batch.io.paths import working_of

        snapshot = self.folder / STORE
        file = snapshot if last else working_of(snapshot)
        parts = forked(lambda: [look(self.folder, self.command), scores(file)])
        return parts[0], parts[1]

    def judge(self, what: str, ended: Ended, *, last: bool) -> None:
        """Look at what a disturbed run left or, with `last`, at the end of the run after it."""
        now, keys = self._seen(last=last)
        known = [*self.new, *(name for name in self.earlier if name not in self.new)]
        wholes = {name: {self.earlier.get(name), self.new.get(name)} for name in known}
        left = sorted(names(self.folder) - self.files) if last else []
        problems = {
            "lost": not set(self.committed) <= set(keys),
            "doubled": len(keys) != len({key.rpartition(" ")[0] for key in keys}),
            "torn": any(found not in wholes.get(name, ()) for name, found in now.items()),
            "stale": ended.code == 0 and now != self.new,
            "tracebacks": "Traceback" in ended.err or ended.code == 1,
            "failed after": last and ended.code != 0,
            "left": bool(left),
        }
        if last:
            problems["lost"] |= without_run(keys) != without_run(self.has)
        self.committed = keys
        self.found.update({name: int(value) for name, value in problems.items()})
        if wrong := [name for name, value in problems.items() if value]:
            note = f"{self.command.name}, {what}: {wrong} {now} {left} {ended.err[-400:]}"
            self.notes.append(note)

    def end(self, what: str) -> None:
        """Let the command end, and judge."""
        if self.command.name == "store export" and self._seen()[0] == self.new:
            return  # An export is never replaced: the command would rightly refuse.
        self.judge(f"after {what}", self.run(), last=True)


def names(folder: Path) -> set[str]:
    """Return what lies in a folder, logs, logs of DuckDB and files of Delta tables left aside.

    A Delta table's log says which of its files count; `vacuum` removes the others.
    """
    found = {str(p.relative_to(folder)) for p in folder.rglob("*")}
    deltas = tuple(f"{log.parent.relative_to(folder)}/" for log in folder.glob("*/_delta_log"))
    own = (n for n in found if not n.startswith(deltas))
    return {n for n in own if not n.endswith(".wal") and "/logs" not in n}
