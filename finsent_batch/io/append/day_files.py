"""A folder of Parquet by days, as Hive lays one out: names, and how an input's files change as one.

`lake/day=2014-01-06/monday-3f2a….scored.parquet` holds the rows that one input has of one day. The
folder holds nothing else, so that every reader of such folders can take it as it is. New files wait
beside it until all are whole; then a journal says which names they get, and from there on whoever
opens the folder next completes what a killed run left undone.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ...errors import CannotCreateError, TryAgainError
from ...failpoints import failpoint
from ..atomic import force_to_disk, private_folder, replace_file, temporary_of
from ..paths import OUTPUT_MARK, check_inside, stem_of
from ..whole.system_errors import check_open

DAY: Final = "day"
"""The column that the folders name."""
EVERY_DAY: Final = f"{DAY}=*"
"""The pattern of their names."""
NO_DAY: Final = "__HIVE_DEFAULT_PARTITION__"
"""What stands for the day of rows without a time that can be read: DuckDB, Polars and Spark read
it as NULL."""
_JOURNAL: Final = "journal.json"
_LONGEST_STEM = 80


def file_name(path: str, table: str | None) -> str:
    """Return what the files of an input are called in each day's folder."""
    name = f"{path}::{table}" if table else path
    stem = re.sub(r"[^\w.-]+", "_", table or stem_of(Path(path)), flags=re.ASCII)[:_LONGEST_STEM]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:12]}{OUTPUT_MARK}.parquet"


def files_of(folder: Path, path: str, table: str | None) -> list[Path]:
    """Return the files that an input has in a folder by days.

    Raises:
        MissingInputError: a day's folder may not be read.
    """
    for day in folder.glob(EVERY_DAY):
        if day.is_dir():
            check_open(day)
    return sorted(folder.glob(f"{EVERY_DAY}/{file_name(path, table)}"))


def pattern_of(folder: str, path: str, table: str | None) -> str:
    """Return the pattern of these files."""
    return f"{folder}/{EVERY_DAY}/{file_name(path, table)}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other writers from a folder by days within the block; readers are not asked.

    Raises:
        TryAgainError: another process is writing there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainError(f"another run is writing {folder}: wait for it to end") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def waiting_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, on the same disk; it is gone after the block.

    Needs the lock.

    Raises:
        CannotCreateError: somebody else's lies there.
    """
    waiting = temporary_of(folder)
    private_folder(waiting)
    _remove(waiting)
    private_folder(waiting)
    try:
        yield waiting
    finally:
        if not (waiting / _JOURNAL).exists():
            _remove(waiting)


def replace_files(folder: Path, waiting: Path, new: Mapping[str, str], old: Sequence[str]) -> None:
    """Give files in `waiting` their names below `folder`, and remove those of `old`, all or none.

    `new` maps names in `waiting` to names below `folder`. Needs the lock. A process that is killed
    here has changed nothing, or `complete` does the rest.
    """
    for name in (*new.values(), *old):
        check_inside(folder / name, folder)
    force_to_disk(waiting)
    told = {"new": dict(new), "old": [name for name in old if name not in new.values()]}
    replace_file(waiting / _JOURNAL, json.dumps(told).encode())
    complete(folder)


def complete(folder: Path) -> None:
    """Complete the change of a folder by days that a journal tells of; needs the lock."""
    waiting = temporary_of(folder)
    journal = waiting / _JOURNAL
    if not journal.exists():
        return
    told = json.loads(journal.read_bytes())
    touched = set()
    for name, wanted in told["new"].items():
        target = folder / wanted
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # it has its name already
            (waiting / name).replace(target)
        touched.add(target.parent)
        failpoint("day_renamed")
    for name in told["old"]:
        (folder / name).unlink(missing_ok=True)
        touched.add((folder / name).parent)
        failpoint("day_renamed")
    for day in touched:
        with suppress(OSError):
            day.rmdir()  # only where nothing is left of the day
        if day.exists():
            force_to_disk(day)
    force_to_disk(folder)
    journal.unlink()
    _remove(waiting)


def is_undone(folder: Path) -> bool:
    """Whether a run was killed, or is at work, between the old files and the new ones."""
    waiting = temporary_of(folder)
    return os.access(waiting, os.X_OK) and (waiting / _JOURNAL).exists()


def complete_for_readers(folder: Path) -> None:
    """Complete what a killed run left undone, before the folder is read.

    A run that is at work is left alone: it is done in a moment.

    Raises:
        TryAgainError: it cannot be completed from here.
    """
    if not is_undone(folder):
        return
    try:
        with locked(folder):
            complete(folder)
    except TryAgainError:
        return
    except (OSError, CannotCreateError):
        raise TryAgainError(
            f"{folder} was left between its old and its new files by a run that was killed: run "
            "that finsent-batch score again"
        ) from None


def _remove(waiting: Path) -> None:
    shutil.rmtree(waiting, ignore_errors=True)
