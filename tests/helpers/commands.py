"""The command in this process, for fixtures that several tests share."""

import contextlib
import signal
from pathlib import Path

from finsent_batch.jobs.cli import run


def run_in(folder: Path, *arguments: object) -> None:
    """Run a command line in a folder; it must succeed."""
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.chdir(folder):
            assert run([str(a) for a in arguments]) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
