"""What DuckDB and the system met, named for what it is."""

import duckdb

from .atomic import disk_reason, is_disk_full
from .errors import BadDataError, ConfigError, FinsentError, StorageError, first_line
from .runs import StopRequest


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
