"""Files made whole or not at all: filled under another name, forced to disk, renamed."""

import errno
import fcntl
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CannotCreateError, FinsentError, StorageError, TryAgainError
from ..failpoints import failpoint
from .duckdb_errors import disk_reason, storage_advice
from .paths import check_inside

if TYPE_CHECKING:
    import polars as pl

_NO_PLACE = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_NO_PLACE_NUMBERS = (errno.EROFS, errno.EBUSY, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_NAME = 255
_ATTEMPTS = 100
UNTOUCHED = "what stood there is untouched"
"""What is there after a write that failed."""


def temporary_of(file: Path) -> Path:
    """Return where a file is written before it gets its name."""
    name = f".{file.name}.finsent-tmp"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(file.name)).hexdigest()}.finsent-tmp"
    return file.with_name(name)


@contextmanager
def opened_temporary(file: Path) -> Iterator[int]:
    """Open the temporary file, locked and empty: what a killed run left is taken over.

    It has the mode of what stands at `file`, and is gone after the block unless renamed.

    Raises:
        TryAgainError: another process is writing this very file.
        CannotCreateError: somebody else made what lies there.
        OSError: it cannot be made.
    """
    descriptor = _locked(file)
    try:
        os.ftruncate(descriptor, 0)
        if file.exists():
            os.fchmod(descriptor, file.stat().st_mode & 0o777 | stat.S_IWUSR | stat.S_IRUSR)
        yield descriptor
    finally:
        # Under our lock this name is ours, and after a rename there is none.
        with suppress(OSError):
            if is_at(descriptor, temporary_of(file)):
                temporary_of(file).unlink()
        os.close(descriptor)


def _locked(file: Path) -> int:
    """Open and lock the temporary file; whoever held it before may have renamed it meanwhile."""
    temporary = temporary_of(file)
    for _ in range(_ATTEMPTS):
        descriptor = os.open(temporary, _FLAGS, 0o666)
        try:
            _check_ours(os.fstat(descriptor), file, temporary)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(descriptor, temporary):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise TryAgainError(f"another run is writing {file}: wait for it to end") from None


def _check_ours(found: os.stat_result, file: Path, temporary: Path) -> None:
    """Refuse a temporary file that a stranger laid there, to own or to read what we write."""
    owners = {os.geteuid()} | ({file.stat().st_uid} if file.exists() else set())
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid not in owners:
        raise CannotCreateError(f"{temporary} is not ours and in the way of {file}: remove it")


def is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one that now has this name."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


@contextmanager
def replacing(
    file: Path, *, parents: bool = False, ready: Callable[[os.stat_result], None] | None = None
) -> Iterator[Path]:
    """Give the temporary file to fill; then force it to disk and rename it to `file`.

    It keeps the mode of what it replaces, and the owner where the system lets us. With
    `parents`, folders on the way are made. `ready` is called with what the file is, size
    and times final, just before it gets its name.

    Raises:
        CannotCreateError: the place cannot be written.
        StorageError: writing failed half way; what stood there is untouched.
        TryAgainError: another process is writing this very file.
    """
    stands = UNTOUCHED
    try:
        if parents:
            make_folder(file.parent)
        with opened_temporary(file) as descriptor:
            yield temporary_of(file)
            keep_mode_and_owner(descriptor, file)
            os.fsync(descriptor)
            if ready is not None:
                ready(os.fstat(descriptor))
            failpoint("before_rename")
            temporary_of(file).replace(file)
            stands = "it may be the earlier one again after a power cut"
        force_to_disk(file.parent)
        failpoint("renamed")
    except OSError as error:
        raise write_failed(file, error, stands) from None


def keep_mode_and_owner(descriptor: int, file: Path) -> None:
    """Make them what the old file's are; a group that cannot be kept gets no rights."""
    if not file.exists():
        return
    old = file.stat()
    mode = old.st_mode & 0o777
    with suppress(PermissionError):
        os.fchown(descriptor, -1, old.st_gid)
    if os.fstat(descriptor).st_gid != old.st_gid:
        mode &= ~stat.S_IRWXG
    os.fchmod(descriptor, mode)
    with suppress(PermissionError):
        os.fchown(descriptor, old.st_uid, -1)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and those on the way, and force their names to disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    for made in missing:
        force_to_disk(made.parent)


def private_folder(folder: Path) -> None:
    """Make a folder that its owner alone may enter, unless there is one.

    Raises:
        CannotCreateError: a link, a file or somebody else's folder lies there.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=stat.S_IRWXU)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise CannotCreateError(f"{folder} is no folder of ours and in the way: remove it")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        folder.chmod(stat.S_IRWXU)


def sha256_file(file: Path | io.BufferedReader) -> str:
    """Return the SHA-256 of a file, or of a stream from where it stands, in hexadecimal."""
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return sha256_file(stream)
    return hashlib.file_digest(file, "sha256").hexdigest()


def force_to_disk(path: Path) -> None:
    """Return once a file's contents, or a folder's names, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_failed(file: Path, error: OSError, stands: str) -> FinsentError:
    """Return the error of a write that failed; `stands` says what is there now."""
    if isinstance(error, _NO_PLACE) or error.errno in _NO_PLACE_NUMBERS:
        return cannot_write(file, error)
    return StorageError(
        f"writing {file} failed ({disk_reason(error)}): {stands}, "
        f"and scores are kept; {storage_advice(error)} and run again"
    )


def cannot_write(file: Path, error: OSError) -> CannotCreateError:
    """Return the error of a place where no file can be made."""
    return CannotCreateError(
        f"cannot write {file} ({error.strerror}): choose another place with -o"
    )


@contextmanager
def filling(file: Path) -> Iterator[Path]:
    """Give what to fill so that a reader meets the old content or the new; a pipe as it is.

    Raises:
        CannotCreateError: the place cannot be written, or see `check_inside`.
        StorageError: writing failed half way; what stood there is untouched.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        yield file
        return
    check_inside(file, file.parent)
    with replacing(file.resolve() if file.is_symlink() else file) as temporary:
        yield temporary


def replace_file(file: Path, content: bytes) -> None:
    """Write a file so that a reader meets the old content or the new; see `filling`."""
    with filling(file) as place:
        place.write_bytes(content)


def frame_bytes(frame: "pl.DataFrame", kind: str) -> bytes:
    """Return a table as the bytes of a `parquet`, `csv` or `json` file.

    In memory, because polars tells a full disk as an error of its computing.
    """
    content = io.BytesIO()
    if kind == "csv":
        frame.write_csv(content)
    elif kind == "json":
        frame.write_json(content)
        content.write(b"\n")
    else:
        frame.write_parquet(content)
    return content.getvalue()
