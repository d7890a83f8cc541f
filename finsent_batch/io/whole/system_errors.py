"""What the system refuses: files that may not be read or written, a full disk."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import (
    DISK_FULL,
    OPEN_FILES,
    CannotCreateError,
    FinsentError,
    MissingInputError,
    StorageError,
    first_line,
)

_OF_THE_DISK = "lost+found"
"""Root's folder at the top of many disks, which holds no files of anybody's."""


def refused(error: OSError) -> FinsentError | None:
    """Return what to say of an error of the system's that no caller has; None if it is a bug."""
    if isinstance(error, PermissionError) and error.filename is not None:
        path = Path(os.fsdecode(error.filename))
        if barrier(path) is not None:  # `score` has looked at those it writes to
            return unreadable(path)
        return CannotCreateError(
            f"cannot write {path}: check its permissions and those of its folder"
        )
    if error.errno not in (*DISK_FULL, *OPEN_FILES):
        return None
    where = error.filename or "while writing"
    advice = (
        "make room" if error.errno in DISK_FULL else "raise the limit of open files (ulimit -n)"
    )
    return StorageError(f"{os.strerror(error.errno)}: {where}; {advice} and run again")


def unreadable(path: Path) -> MissingInputError:
    """Return what to raise for a file or folder that this user may not read."""
    return MissingInputError(
        f"{barrier(path) or path} may not be read by this user: check its permissions"
    )


def barrier(path: Path) -> Path | None:
    """Return what keeps this user from reading a path: itself, or a folder on the way to it."""
    for folder in reversed(path.absolute().parents):
        if folder.is_dir() and not os.access(folder, os.X_OK):
            return folder
    return path if os.path.lexists(path) and not os.access(path, os.R_OK) else None


def check_reachable(path: Path) -> None:
    """Refuse a path on the way to which is a folder that this user may not look into.

    Raises:
        MissingInputError: there is one.
    """
    if barrier(path) not in (None, path):
        raise unreadable(path)


def check_target(path: Path) -> None:
    """Refuse to write to a path on the way to which is a folder that this user may not enter.

    Raises:
        CannotCreateError: there is one.
    """
    closed = barrier(path)
    if closed not in (None, path):
        raise CannotCreateError(
            f"cannot write {path}: {closed} may not be entered by this user: check its permissions"
        )


def matching(pattern: str) -> list[Path]:
    """Return what a pattern names; `**` stands for folders of any depth.

    Raises:
        MissingInputError: a folder that it leads through may not be read, by which files would be
            left out without a word.
    """
    parts = pattern.split("/")
    for end in range(1, len(parts) + (parts[-1] == "**")):
        # The entries of a folder are looked at only where a pattern stands for them.
        listed = end == len(parts) or glob.has_magic(parts[end]) or "**" in parts[:end]
        leading = "/".join(parts[:end])
        for folder in glob.iglob(leading + "/", recursive=True):  # noqa: PTH207 - absolute too
            if Path(folder).name != _OF_THE_DISK:
                check_open(Path(folder), listed=listed)
    return sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207 - absolute too


def check_open(folder: Path, *, listed: bool = True) -> None:
    """Refuse a folder that this user may not enter or, if it is to be `listed`, read.

    Raises:
        MissingInputError: it is one.
    """
    if not os.access(folder, os.X_OK | (os.R_OK if listed else 0)):
        raise unreadable(folder)


def files_below(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield what `os.walk` does, of a folder that can be read as a whole.

    Raises:
        MissingInputError: a folder in it may not be read.
        StorageError: a folder in it cannot be read.
    """

    def failed(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise unreadable(Path(error.filename)) from None
        if not isinstance(error, FileNotFoundError):  # gone since its own folder was read
            raise StorageError(f"cannot read {error.filename}: {first_line(error)}") from None

    for parent, folders, names in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if name != _OF_THE_DISK]
        yield Path(parent), folders, names
