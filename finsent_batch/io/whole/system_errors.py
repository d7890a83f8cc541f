"""What the system refuses: files that may not be read or written, a full disk."""

import os
from pathlib import Path

from ...errors import (
    DISK_FULL,
    OPEN_FILES,
    CannotCreateError,
    FinsentError,
    MissingInputError,
    StorageError,
)


def refused(error: OSError) -> FinsentError | None:
    """Return what to say of an error of the system's that no caller has; None if it is a bug."""
    if isinstance(error, PermissionError) and error.filename is not None:
        path = Path(os.fsdecode(error.filename))
        if barrier(path) is not None:
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
    for place in (*reversed(path.absolute().parents), path):
        wanted = os.R_OK if place == path else os.X_OK
        if os.path.lexists(place) and not os.access(place, wanted):
            return place
    return None
