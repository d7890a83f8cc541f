"""Translate DuckDB and OS errors into expected failures."""

import os
import re
from pathlib import Path

import duckdb

from ..errors import (
    DISK_FULL,
    BadDataError,
    ConfigError,
    FinsentError,
    StorageError,
    TryAgainError,
    UsageError,
    first_line,
)
from ..progress import StopRequest

_DISK_FULL_SIGNS = (
    "No space left",
    "failed to offload",
    "Could not write",
    "CHECKPOINT during DETACH failed",
    *(os.strerror(number) for number in DISK_FULL),
)


def as_expected(error: BaseException, stop: StopRequest) -> BaseException:
    """Return the expected failure behind an error: a stop, a full disk, a damaged file.

    Whatever is none of these comes back as it is.
    """
    if isinstance(error, FinsentError):
        return error
    if stop():
        return stop.error()
    if not isinstance(error, duckdb.Error | OSError):
        return error
    text = str(error)
    if is_disk_full(error):
        return StorageError(
            f"the disk is full ({disk_reason(error)}): make room and run the same command again; "
            "what was committed is kept"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return ConfigError(
            "planning and publishing this input need more than --memory-limit allows: raise it; "
            "what was committed is kept"
        )
    if "checksum" in text or "orrupt" in text:
        return BadDataError(
            f"a file is damaged ({first_line(error)}): see finsent-batch store verify, and check "
            "the input"
        )
    return error


def is_disk_full(error: BaseException) -> bool:
    """Return whether this is what a full disk, quota or file size limit looks like."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return True
    text = str(error)
    return isinstance(error, duckdb.Error | OSError) and any(s in text for s in _DISK_FULL_SIGNS)


def disk_reason(error: BaseException) -> str:
    """Return, in one line, which write the disk did not let through."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    text = str(error).replace("\\", "")
    found = re.search(r"Could not write file [^\n]+?: [\w ]+", text)
    return found[0] if found else text.strip().splitlines()[0][:300]


def lock_holder(message: str) -> str:
    """Return who holds a DuckDB file, from DuckDB's own message."""
    match = re.search(r"held in (.+?) \(PID (\d+)\)(?: by user (\S+?))?[.\s]", message)
    if not match:
        return "another process"
    name = Path(match[1]).name
    return f"process {match[2]} ({name}{', user ' + match[3] if match[3] else ''})"


def is_damage(error: BaseException) -> bool:
    """Return whether this is what a truncated or corrupt DuckDB file looks like."""
    text = str(error)
    return "Could not read enough bytes" in text or "Corrupt database" in text


def cannot_attach(file: Path, error: duckdb.Error) -> Exception:
    text = str(error)
    if "lock" in text and isinstance(error, duckdb.IOException):
        return TryAgainError(
            f"{file} is in use by {lock_holder(text)}: close it there and run again; "
            "what is scored stays scored"
        )
    if "already attached" in text:
        return UsageError(f"{file} is the store or already open: give the store its own file")
    if "not a valid DuckDB" in text:
        return BadDataError(f"{file} is not a DuckDB database: check the file")
    if is_damage(error):
        return BadDataError(f"{file} is truncated or corrupt: get it again ({first_line(error)})")
    return StorageError(f"cannot open {file}: {first_line(error)}")
