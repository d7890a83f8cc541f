"""Processes that a test starts, and their children."""

import time
from collections.abc import Callable

import psutil


def family(pid: int, named: str = "") -> list[psutil.Process]:
    """Return the running descendants of a process whose command line has a word in it."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if named in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # it has just ended
    return found


def until(happened: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
