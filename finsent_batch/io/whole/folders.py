"""Folders of results replaced whole: written beside, forced to disk, exchanged."""

import ctypes
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import CannotCreateError, StorageError, TryAgainError
from ...failpoints import failpoint
from ..atomic import cannot_write, force_to_disk, is_at, keep_mode_and_owner, make_folder
from ..atomic import temporary_of as beside
from ..duckdb_errors import disk_reason, is_storage_failure, storage_advice

_EXCHANGE = 2
_AT_FDCWD = -100
_CANNOT_EXCHANGE = (
    errno.EPERM, errno.EACCES, errno.EBUSY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EMLINK,
)  # fmt: skip
_INSIDE = ".finsent-tmp"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def replacing_folder(
    folder: Path, *, index: str, obsolete: Callable[[Path], bool] = lambda _: False
) -> Iterator[Path]:
    """Give an empty folder to fill; then let it take the place of `folder`, all at once.

    What else lies in `folder` is kept, but for the entries that are `obsolete`. Where two
    folders cannot be exchanged (a mount point, a parent that is not ours), files are moved
    one by one; `index`, without which the folder is no result, goes first and comes last.

    Raises:
        CannotCreateError: the place cannot be written.
        StorageError: writing failed half way; the earlier result is untouched.
        TryAgainError: another process is writing this very folder.
    """
    real = Path(os.path.realpath(folder))
    try:
        make_folder(real.parent)
        with locked_folder(_staging_place(real)) as staged:
            yield staged
            _force_tree(staged, real)
            failpoint("before_rename")
            _put_in_place(staged, real, index, obsolete)
        failpoint("renamed")
    except OSError as error:
        if is_storage_failure(error):
            raise StorageError(
                f"writing {folder} failed ({disk_reason(error)}): what stood there before is "
                f"untouched; {storage_advice(error)} and run again"
            ) from None
        raise cannot_write(folder, error) from None


def _staging_place(folder: Path) -> Path:
    """Return a place beside the folder, or inside of it where its parent is not ours."""
    if folder.is_dir() and (os.path.ismount(folder) or not os.access(folder.parent, os.W_OK)):
        return folder / _INSIDE
    return beside(folder)


@contextmanager
def locked_folder(staged: Path) -> Iterator[Path]:
    """Make a folder, or empty the one that a killed run left, locked for the block's length.

    It is removed at the end, unless it has another name by then.

    Raises:
        CannotCreateError: what lies there is no folder, or somebody else's.
        TryAgainError: another process fills it.
        OSError: it cannot be made.
    """
    while True:
        with suppress(FileExistsError):
            staged.mkdir()
        try:
            descriptor = os.open(staged, _DIRECTORY)
        except FileNotFoundError:
            continue  # its last owner has just removed it
        except NotADirectoryError:
            raise CannotCreateError(f"{staged} is no folder and in the way: remove it") from None
        locked = False
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise CannotCreateError(f"{staged} is not ours and in the way: remove it")
            locked = _lock(descriptor)
            if not locked:
                raise TryAgainError(f"another run is filling {staged}: wait for it to end")
            if is_at(descriptor, staged):
                _empty(staged)
                yield staged
                return
        finally:
            if locked and is_at(descriptor, staged):
                shutil.rmtree(staged, ignore_errors=True)
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _force_tree(staged: Path, folder: Path) -> None:
    """Give each file the mode and owner of the one it replaces, and force all to disk."""
    for parent, _, names in os.walk(staged):
        for name in names:
            file = Path(parent) / name
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                keep_mode_and_owner(descriptor, folder / file.relative_to(staged))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        force_to_disk(Path(parent))


def _put_in_place(staged: Path, folder: Path, index: str, obsolete: Callable[[Path], bool]) -> None:
    if not folder.exists():
        with suppress(FileExistsError):
            staged.rename(folder)
            force_to_disk(folder.parent)
            return
    # Under its lock, or the next writer would take the earlier folder for what it may fill.
    old = os.open(folder, _DIRECTORY)
    try:
        fcntl.flock(old, fcntl.LOCK_EX)
        if not is_at(old, folder):
            raise TryAgainError(f"another run has just written {folder}: run again")
        if staged.parent == folder or folder.samefile("."):  # whose shell would stand in nothing
            _move_files(staged, folder, index, obsolete)
            return
        try:
            _take_place(staged, folder, os.fstat(old), obsolete)
        except OSError as error:
            if error.errno not in _CANNOT_EXCHANGE:
                raise
            _move_files(staged, folder, index, obsolete)
    finally:
        os.close(old)


def _take_place(
    staged: Path, folder: Path, old: os.stat_result, obsolete: Callable[[Path], bool]
) -> None:
    _keep_others(folder, staged, obsolete)
    with suppress(PermissionError):
        os.chown(staged, old.st_uid, old.st_gid)
    staged.chmod(stat.S_IMODE(old.st_mode))
    force_to_disk(staged)
    _exchange(staged, folder)
    force_to_disk(folder.parent)
    shutil.rmtree(staged, ignore_errors=True)


def _keep_others(folder: Path, staged: Path, obsolete: Callable[[Path], bool]) -> None:
    """Let what is not replaced be in the new folder too, by links to the same files."""
    for entry in folder.iterdir():
        target = staged / entry.name
        if entry.name == _INSIDE or os.path.lexists(target) or obsolete(entry):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, target, symlinks=True, copy_function=_link)
        else:
            _link(entry, target)


def _link(source: os.PathLike[str] | str, target: os.PathLike[str] | str) -> None:
    os.link(source, target, follow_symlinks=False)


def _exchange(one: Path, other: Path) -> None:
    """Let two folders have each other's name, in one step.

    Raises:
        OSError: the system or the file system cannot do that.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))


def _move_files(staged: Path, folder: Path, index: str, obsolete: Callable[[Path], bool]) -> None:
    (folder / index).unlink(missing_ok=True)
    force_to_disk(folder)
    for entry in folder.iterdir():
        if entry.name != _INSIDE and obsolete(entry):
            entry.unlink()
    there = {entry.name for entry in folder.iterdir()}
    moved = sorted(staged.iterdir(), key=lambda entry: entry.name == index)
    for entry in moved:
        target = folder / entry.name
        if entry.is_dir() and entry.name in there:
            continue  # a folder that was kept lies there already
        if entry.name == index:
            force_to_disk(folder)
        entry.replace(target)
    force_to_disk(folder)


@contextmanager
def no_empty_folder_left(folder: Path) -> Iterator[None]:
    """Remove a folder that the block made and left empty, if the block fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        inside = [path for path in folder.glob("*") if path.is_dir()] if missing else []
        for made in (*inside, *missing):
            with suppress(OSError):
                made.rmdir()
        raise
