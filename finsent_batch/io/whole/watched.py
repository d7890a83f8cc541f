"""A file that must stay what it is while a run reads it."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import TryAgainError


class Watched:
    """A file's identity: device, inode, size, times of its last write and last change.

    The last cannot be set, unlike the time of the last write, which `rsync --times` and
    tar put back. As a context manager, a failure inside of the block is told as a change
    where there was one.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.state = _state(file)

    def check(self) -> None:
        """Raise TryAgainError if the file is no longer what it was."""
        if _state(self.file) != self.state:
            raise TryAgainError(
                f"{self.file} changed while it was being read: wait until it is written to its "
                "end and run again; the scores made so far are kept"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Exception):
            try:
                self.check()
            except TryAgainError as changed:
                raise changed from None


def file_state(file: Path) -> str | None:
    """Return a file's identity as text, to be compared with a later one; None if it is no file."""
    state = _state(file) if file.is_file() else None
    return None if state is None else json.dumps(state)


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        return state_of(file.stat())
    except OSError:
        return None


def state_of(found: os.stat_result) -> tuple[int, ...]:
    """Return what tells a file from another, and from what it was before."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
