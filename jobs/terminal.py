"""Terminal output: log lines, a progress bar."""

import json
import logging
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from finsent_batch.visible import visible_json, visible_line

from .start import between_imports

if TYPE_CHECKING:
    from finsent_batch.progress import StopRequest

_STAGES = {
    "start": "starting",
    "open": "opening",
    "copy": "copying",
    "read": "reading",
    "plan": "planning",
    "load": "loading",
    "tokenize": "tokenizing",
    "train": "training",
    "calibrate": "calibrating",
    "score": "scoring",
    "publish": "publishing",
}


_FIELDS = ("run_id", "stage", "counts", "exit_code")
"""What a log line may carry beside its message."""


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return visible_json(json.dumps(entry, ensure_ascii=False))


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = visible_line(f"finsent-batch: {level}{record.getMessage()}")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def open_standard_streams() -> None:
    """Open /dev/null where a standard stream is closed, and let none fail for a character.

    A database would otherwise become descriptor 2, and messages be written into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
        if name != "stdin":
            getattr(sys, name).reconfigure(errors="backslashreplace")


def set_up_logging(log_format: str, verbose: int, *, quiet: bool) -> None:
    """Log the package's messages to stderr; libraries only from warnings up."""
    # Set before transformers is imported: its bars and advice are not ours to show.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if not verbose:
        warnings.filterwarnings("ignore", module="torch|transformers|peft|accelerate")
    # It says where it keeps its font cache.
    _set_level(logging.getLogger("matplotlib"), logging.ERROR)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    # What libraries warn of comes out in the same form.
    logging.lastResort = logging.StreamHandler(sys.stderr)
    logging.lastResort.level = logging.WARNING if verbose else logging.ERROR
    logging.lastResort.setFormatter(handler.formatter)
    logger = logging.getLogger("finsent_batch")
    logger.handlers[:] = [handler]
    logger.propagate = False
    # Lines of JSON are for a machine, which wants to know of the runs that went well too.
    informs = verbose == 1 or (not verbose and log_format == "json")
    shown = logging.INFO if informs else logging.DEBUG if verbose > 1 else logging.WARNING
    _set_level(logger, logging.ERROR if quiet else shown)
    _SILENT[0] = quiet


def _set_level(logger: logging.Logger, level: int) -> None:
    """Set a level, unless it is set: that would make all loggers of all libraries look it up."""
    if logger.level != level:
        logger.setLevel(level)


def stop_on_signals(stop: "StopRequest") -> "StopRequest":
    """Finish and keep what is in hand on the first SIGINT or SIGTERM, stop on the second."""

    @between_imports
    def end(number: int, _: object) -> None:
        for again in (signal.SIGTERM, signal.SIGINT):  # a third would end what ends the run
            signal.signal(again, signal.SIG_IGN)
        raise stop.error()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.signal is None:
            stop.signal = number
        else:
            end(number, frame)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return stop


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Callable[..., None]]:
    """Give a progress callback that draws a line a stage on a terminal, and nothing elsewhere.

    A stage ends when the next one begins; one whose length is unknown has a spinner.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda stage, done, total, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn("line", finished_text=" "),
        TextColumn("{task.description:>11}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]:>15}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    now: tuple[str, Any] | None = None
    with bar:

        def show(stage: str, done: int, total: int | None, note: str = "") -> None:
            nonlocal now
            if now is None or now[0] != stage:
                if now is not None:
                    _finish(bar, now[1])
                name = _STAGES.get(stage, stage)
                now = stage, bar.add_task(name, total=total, count="", note="")
            count = f"{done:,}/{total:,}" if total else f"{done:,}" if done else ""
            shown = visible_line(note)[:_NOTE]
            bar.update(now[1], completed=done, total=total, count=count, note=shown)

        yield show
        if now is not None:
            _finish(bar, now[1])


def _finish(bar: Any, number: Any) -> None:
    """Let a stage come to its end, also one that had no known one, or fewer rows than planned."""
    task = next(task for task in bar.tasks if task.id == number)
    end = task.total or 1
    bar.update(number, total=end, completed=end)


_NOTE = 18
"""Characters of a note: with the rest of its line it fits into 80 columns."""


@contextmanager
def piped_to_standard_output() -> Iterator[Path]:
    """Give a path that what is written to goes to standard output, wherever that stands.

    Opening /dev/stdout anew would begin a file again that others have written to.
    """
    from concurrent.futures import ThreadPoolExecutor

    read, write = os.pipe()
    with ThreadPoolExecutor(max_workers=1) as pool:
        copied = pool.submit(_copy_to_standard_output, read)
        try:
            yield Path(f"/dev/fd/{write}")
        finally:
            os.close(write)
            copied.result()  # a reader that has had enough is the reason of the writer's failure


def _copy_to_standard_output(descriptor: int) -> None:
    with open(descriptor, "rb") as source:
        shutil.copyfileobj(source, sys.stdout.buffer)
        sys.stdout.buffer.flush()


_SILENT = [False]
"""Whether `say` keeps what it is told to itself, as with --quiet."""


def say(text: str, *, err: bool = False) -> None:
    """Print a line for people unless they asked for quiet, what others put into it made visible."""
    if not _SILENT[0]:
        click.echo(visible_line(text), err=err)
