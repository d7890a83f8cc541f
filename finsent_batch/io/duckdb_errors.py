"""Translate DuckDB and OS errors into expected failures.

DuckDB tells its errors apart by class and text alone. All of the texts that this program
relies on are in one table, and `tests/io/test_duckdb_errors.py` provokes each of them.
"""

import errno
import os
import re
from enum import Enum, auto
from pathlib import Path
from typing import Final

import duckdb

from ..errors import (
    DISK_FULL,
    OPEN_FILES,
    BadDataError,
    ConfigError,
    FinsentError,
    StorageError,
    TryAgainError,
    UsageError,
    first_line,
)
from ..progress import StopRequest
from .whole.system_errors import barrier, unreadable


class Kind(Enum):
    """What an error of DuckDB or of the system is about."""

    DISK_FULL = auto()
    """A full disk, quota or file size limit."""
    IO_FAILED = auto()
    """The disk failed, or the process has too many files open."""
    OUT_OF_MEMORY = auto()
    """The statement needs more than `memory_limit`, and cannot spill."""
    LOCKED = auto()
    """Another process has the file open."""
    ALREADY_OPEN = auto()
    """This process has the file open already."""
    NOT_A_DATABASE = auto()
    DAMAGED = auto()
    """Truncated or corrupt."""
    FOREIGN_WAL = auto()
    """The write-ahead log beside the file belongs to another one."""
    NEWER_DUCKDB = auto()
    """A newer DuckDB wrote the file."""
    NO_PERMISSION = auto()
    """This user may not open the file."""
    OUT_OF_REACH = auto()
    """SQL names a file that `allowed_paths` does not let it reach."""
    READ_ONLY = auto()
    """A write to what is open for reading."""


_KINDS: Final[tuple[tuple[type[duckdb.Error], str, Kind], ...]] = (
    (duckdb.Error, "failed to offload", Kind.DISK_FULL),
    (duckdb.OutOfMemoryException, "", Kind.OUT_OF_MEMORY),
    (duckdb.PermissionException, "", Kind.OUT_OF_REACH),
    (duckdb.Error, "Too many open files", Kind.IO_FAILED),
    (duckdb.Error, "Input/output error", Kind.IO_FAILED),
    (duckdb.Error, "fsync failed", Kind.IO_FAILED),
    (duckdb.Error, "No space left", Kind.DISK_FULL),
    (duckdb.Error, "Disk quota exceeded", Kind.DISK_FULL),
    (duckdb.Error, "File too large", Kind.DISK_FULL),
    (duckdb.Error, "Could not write", Kind.DISK_FULL),
    (duckdb.Error, "CHECKPOINT during DETACH failed", Kind.DISK_FULL),
    (duckdb.IOException, "Could not set lock", Kind.LOCKED),
    (duckdb.Error, "already attached", Kind.ALREADY_OPEN),
    (duckdb.Error, "not a valid DuckDB", Kind.NOT_A_DATABASE),
    (duckdb.Error, "WAL does not match", Kind.FOREIGN_WAL),
    (duckdb.Error, "newer version of DuckDB", Kind.NEWER_DUCKDB),
    (duckdb.Error, "Could not read enough bytes", Kind.DAMAGED),
    (duckdb.Error, "[Cc]orrupt|checksum", Kind.DAMAGED),
    (duckdb.IOException, "Permission denied", Kind.NO_PERMISSION),
    (duckdb.InvalidInputException, "read-only", Kind.READ_ONLY),
)
"""The first line that fits decides: an exception's class, what its text holds, what it is about."""

_KINDS_BY_NUMBER: Final = {
    **dict.fromkeys(DISK_FULL, Kind.DISK_FULL),
    **dict.fromkeys((errno.EIO, *OPEN_FILES), Kind.IO_FAILED),
}


def classify(error: BaseException) -> Kind | None:
    """Return what an error of DuckDB or of the system is about; None for all others."""
    if isinstance(error, OSError):
        return _KINDS_BY_NUMBER.get(error.errno or 0)
    text = str(error)
    fitting = (
        kind
        for class_, pattern, kind in _KINDS
        if isinstance(error, class_) and re.search(pattern, text)
    )
    return next(fitting, None)


def as_expected(error: BaseException, stop: StopRequest) -> BaseException:
    """Return the expected failure behind an error: a stop, a full disk, a damaged file.

    Whatever is none of these comes back as it is.
    """
    if isinstance(error, FinsentError):
        return error
    if stop():
        return stop.error()
    kind = classify(error)
    if kind in _STORAGE:
        return StorageError(
            f"{storage_problem(error)} and run the same command again; what was committed is kept"
        )
    if kind is Kind.OUT_OF_MEMORY:
        return ConfigError(
            "planning and publishing this input need more than --memory-limit allows: raise it; "
            "what was committed is kept"
        )
    if kind is Kind.DAMAGED:
        return BadDataError(
            f"a file is damaged ({first_line(error)}): see finsent-batch store verify, and check "
            "the input"
        )
    return error


_STORAGE: Final = (Kind.DISK_FULL, Kind.IO_FAILED)


def is_disk_full(error: BaseException) -> bool:
    """Return whether this is what a full disk, quota or file size limit looks like."""
    return classify(error) is Kind.DISK_FULL


def is_storage_failure(error: BaseException) -> bool:
    """Return whether the system did not let a read or write through, for whatever reason."""
    return classify(error) in _STORAGE


def storage_problem(error: BaseException) -> str:
    """Return what `is_storage_failure` found and what to do, to be followed by "and run again"."""
    reason = disk_reason(error)
    if is_disk_full(error):
        return f"the disk is full ({reason}): make room"
    return f"reading or writing failed ({reason}): {storage_advice(error)}"


def storage_advice(error: BaseException) -> str:
    """Return what to do about a storage failure before running again."""
    if is_disk_full(error):
        return "make room"
    if "open files" in disk_reason(error):
        return "raise the limit of open files (ulimit -n)"
    return "check the disk"


def disk_reason(error: BaseException) -> str:
    """Return, in one line, which write the disk did not let through."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    text = str(error).replace("\\", "")
    found = re.search(r"Could not write file [^\n]+?: [\w ]+", text)
    return found[0] if found else text.strip().splitlines()[0][:300]


def lock_holder(error: duckdb.Error) -> str:
    """Return who holds a DuckDB file, from DuckDB's own message."""
    match = re.search(r"held in (.+?) \(PID (\d+)\)(?: by user (\S+?))?[.\s]", str(error))
    if not match:
        return "another process"
    name = Path(match[1]).name
    return f"process {match[2]} ({name}{', user ' + match[3] if match[3] else ''})"


def cannot_attach(file: Path, error: duckdb.Error) -> FinsentError:
    """Return what to raise for a DuckDB file of the user's that cannot be opened."""
    match classify(error):
        case Kind.LOCKED:
            return TryAgainError(
                f"{file} is in use by {lock_holder(error)}: close it there and run again; "
                "what is scored stays scored"
            )
        case Kind.ALREADY_OPEN:
            return UsageError(f"{file} is the store or already open: give the store its own file")
        case Kind.NOT_A_DATABASE:
            return BadDataError(f"{file} is not a DuckDB database: check the file")
        case Kind.DAMAGED:
            return BadDataError(
                f"{file} is truncated or corrupt: get it again ({first_line(error)})"
            )
        case Kind.NEWER_DUCKDB:
            return ConfigError(f"{file} was written by a newer DuckDB: upgrade duckdb")
        case _ if barrier(file) is not None:
            return unreadable(file)
        case _:
            return StorageError(f"cannot open {file}: {first_line(error)}")
