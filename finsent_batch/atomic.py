"""Files made whole or not at all: filled under another name, forced to disk, renamed."""

import errno
import fcntl
import glob
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from .errors import DISK_FULL, CannotCreateError, FinsentError, StorageError, TryAgainError
from .failpoints import failpoint

_NO_PLACE = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


_DISK_FULL_SIGNS = (
    "No space left",
    "failed to offload",
    "Could not write",
    "CHECKPOINT during DETACH failed",
    *(os.strerror(number) for number in DISK_FULL),
)


def temporary_of(file: Path) -> Path:
    """Return where a file is written before it gets its name."""
    return file.with_name(f".{file.name}.finsent-tmp")


@contextmanager
def opened_temporary(file: Path) -> Iterator[int]:
    """Open the temporary file, locked: what a killed run left is taken over, not kept.

    Raises:
        TryAgainError: another process is writing this very file.
        OSError: it cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary_of(file), flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        yield descriptor
    except BlockingIOError:
        raise TryAgainError(f"another run is writing {file}: wait for it to end") from None
    finally:
        os.close(descriptor)


@contextmanager
def replacing(
    file: Path, *, parents: bool = False, ready: Callable[[os.stat_result], None] | None = None
) -> Iterator[Path]:
    """Give the temporary file to fill; then force it to disk and rename it to `file`.

    With `parents`, folders on the way are made. `ready` is called with what the file
    is, size and times final, just before it gets its name.

    Raises:
        CannotCreateError: the place cannot be written.
        StorageError: writing failed half way; what stood there is untouched.
        TryAgainError: another process is writing this very file.
    """
    temporary = temporary_of(file)
    try:
        if parents:
            file.parent.mkdir(parents=True, exist_ok=True)
        with opened_temporary(file) as descriptor:
            try:
                yield temporary
                os.fsync(descriptor)
                if ready is not None:
                    ready(os.fstat(descriptor))
                failpoint("before_rename")
                temporary.replace(file)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
        force_to_disk(file.parent)
        failpoint("renamed")
    except FinsentError:
        raise
    except OSError as error:
        if isinstance(error, _NO_PLACE) or error.errno == errno.EROFS:
            raise cannot_write(file, error) from None
        raise StorageError(
            f"writing {file} failed ({disk_reason(error)}): what stood there before "
            "is untouched, and scores are kept; make room and run again"
        ) from None


def force_to_disk(path: Path) -> None:
    """Return once a file's contents, or a folder's names, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(file: Path, error: OSError) -> CannotCreateError:
    """Return the error of a place where no file can be made."""
    return CannotCreateError(
        f"cannot write {file} ({error.strerror}): choose another place with -o"
    )


def create_database(file: Path) -> bool:
    """Make an empty DuckDB file, if there is none, that is there whole or not at all.

    DuckDB takes a file whose making was cut short for a damaged one. Where a place
    cannot be written, opening the file says better why. Returns whether it was made.

    Raises:
        StorageError: the disk is full.
    """
    if file.exists():
        return False
    for left in file.parent.glob(f".{glob.escape(file.name)}.[0-9]*.finsent-tmp*"):
        left.unlink(missing_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}.finsent-tmp")
    try:
        duckdb.connect(str(new)).close()
        # Unlike a rename, this leaves alone what another process has made meanwhile.
        file.hardlink_to(new)
        return True
    except (OSError, duckdb.Error) as error:
        if is_disk_full(error):
            raise StorageError(
                f"cannot make {file}: the disk is full; make room and run again"
            ) from None
        return False
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def remove_database(file: Path) -> None:
    """Remove a DuckDB file and what was committed to it without having come into it yet."""
    file.with_name(file.name + ".wal").unlink(missing_ok=True)
    file.unlink(missing_ok=True)


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
