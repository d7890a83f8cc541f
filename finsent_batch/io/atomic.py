"""Files made whole or not at all: filled under another name, forced to disk, renamed."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import CannotCreateError, FinsentError, StorageError, TryAgainError
from ..failpoints import failpoint
from .duckdb_errors import disk_reason
from .paths import check_inside

_NO_PLACE = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
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


def replace_file(file: Path, content: bytes) -> None:
    """Write a file so that a reader meets the old content or the new; a pipe as it is.

    Raises:
        CannotCreateError: the place cannot be written, or see `check_inside`.
        StorageError: writing failed half way; what stood there is untouched.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        file.write_bytes(content)
        return
    check_inside(file, file.parent)
    with replacing(file.resolve() if file.is_symlink() else file) as temporary:
        temporary.write_bytes(content)
