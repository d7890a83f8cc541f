"""DuckDB files made under another name, and removed only while nobody else has them."""

import errno
import fcntl
import glob
import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import duckdb

from ...errors import StorageError, TryAgainError
from ..atomic import force_to_disk, is_at, temporary_of
from ..duckdb_errors import is_storage_failure, storage_problem
from ..sql import database_literal

_NUMBERS = itertools.count()
_MADE = "made"
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@contextmanager
def new_database(file: Path, by: duckdb.DuckDBPyConnection | None = None) -> Iterator[Path]:
    """Give an empty database beside where `file` is to be, and remove what is left of it.

    DuckDB takes a file whose making was cut short for a damaged one, so that it must be
    made under another name. Locked, lest another run clears it away as a killed run's.
    `by` is a connection to make it with: a DuckDB of its own takes 15 ms of CPU to start.

    Raises:
        UsageError: no database can have this name.
        OSError, duckdb.Error: it cannot be made.
    """
    database_literal(file)  # refused here if it cannot be one
    _clear_left(file)
    while True:
        new = _numbered(file, f"{os.getpid()}-{next(_NUMBERS)}")
        try:
            _make(new, by)
            descriptor = os.open(new, _READING)
        except FileNotFoundError:
            continue  # cleared away before it was locked
        except BaseException:
            _remove(new)
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_at(descriptor, new):
                yield new
                return
        finally:
            _remove(new)
            os.close(descriptor)


def _make(new: Path, by: duckdb.DuckDBPyConnection | None) -> None:
    if by is None:
        duckdb.connect(str(new)).close()
        return
    by.execute(f"ATTACH {database_literal(new)} AS {_MADE} (TYPE duckdb)")
    by.execute(f"DETACH {_MADE}")


def _remove(new: Path) -> None:
    for left in (new, _log_of(new)):
        with suppress(OSError):
            left.unlink(missing_ok=True)


def _clear_left(file: Path) -> None:
    """Remove what killed runs left of databases they were making, and nobody else's."""
    pattern = _numbered(file.with_name(glob.escape(file.name)), "[0-9]*").name
    for left in file.parent.glob(f"{pattern}*"):
        with suppress(OSError):
            if file.exists() and left.samefile(file):
                left.unlink()  # killed between the two names; opening it would free DuckDB's lock
                continue
            if left.suffix == ".wal":
                if not left.with_suffix("").exists():
                    left.unlink()
                continue
            descriptor = os.open(left, _READING)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_uid == os.geteuid() and is_at(descriptor, left):
                    left.unlink()
            finally:
                os.close(descriptor)


def _numbered(file: Path, number: str) -> Path:
    name = temporary_of(file).name.removesuffix("finsent-tmp")
    return file.with_name(f"{name}{number}.finsent-tmp")


def _log_of(file: Path) -> Path:
    return file.with_name(file.name + ".wal")


def give_name(new: Path, file: Path, *, replace: bool = False) -> bool:
    """Let a database that is whole have its name, unless there is one now; returns whether it has.

    With `replace` it takes the place of the one that is there.
    """
    force_to_disk(new)
    if replace:
        new.replace(file)
        force_to_disk(file.parent)
        return True
    try:
        # Unlike a rename, a link leaves alone what another process has made meanwhile.
        file.hardlink_to(new)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        new.rename(file)  # a file system without links
    force_to_disk(file.parent)
    return True


def create_database(
    file: Path, by: duckdb.DuckDBPyConnection | None = None
) -> os.stat_result | None:
    """Make an empty DuckDB file, if there is none, that is there whole or not at all.

    Where a place cannot be written, opening the file says better why. Returns what the file then
    was; None where it was not made. `by` is as in `new_database`.

    Raises:
        StorageError: the disk is full.
    """
    if file.exists():
        _clear_left(file)
        return None
    try:
        with ExitStack() as opened:
            with new_database(file, by) as new:
                descriptor = os.open(new, _READING)
                opened.callback(os.close, descriptor)
                if not give_name(new, file):
                    return None
            return os.fstat(descriptor)
    except (OSError, duckdb.Error) as error:
        if is_storage_failure(error):
            raise StorageError(
                f"cannot make {file}: {storage_problem(error)} and run again"
            ) from None
        return None


@contextmanager
def written_database(file: Path) -> Iterator[Path]:
    """Give the database to write to: the file, or a new one that gets its name in the end.

    A database that a failing run had made is then never there for another to write to.

    Raises:
        TryAgainError: another process made the file meanwhile.
        OSError, duckdb.Error: it cannot be made.
    """
    if file.exists():
        yield file
        return
    with new_database(file) as new:
        yield new
        if _log_of(new).exists():
            raise StorageError(f"{file} could not be written to its end: run again")
        if not give_name(new, file):
            raise TryAgainError(f"another run has just made {file}: run again")


def remove_unused(file: Path, last: os.stat_result) -> None:
    """Remove a database that nobody holds, and nobody has changed since `last` was taken."""
    with suppress(OSError):
        descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # The lock that DuckDB itself takes: whoever has the file open keeps it.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            now, log = os.fstat(descriptor), _log_of(file)
            written = (now.st_size, now.st_mtime_ns) != (last.st_size, last.st_mtime_ns)
            logged = log.exists() and log.stat().st_size > 0
            if os.path.samestat(now, last) and is_at(descriptor, file) and not written | logged:
                log.unlink(missing_ok=True)
                file.unlink()
        finally:
            os.close(descriptor)
