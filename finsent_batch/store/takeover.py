"""Open the working store, made anew, or from the file under the snapshot's name where that counts.

That file counts where there is no working store: it is a store of an earlier version, or was
copied here. It also counts where it is not the one that was published last: somebody has brought
a backup back, or changed it. Then the working store becomes a copy of it.
"""

import logging
import os
import stat
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ..config import StoreConfig
from ..errors import CannotCreateError, StorageError, TryAgainError
from ..io.atomic import keep_mode_and_owner
from ..io.duckdb_errors import (
    Kind,
    classify,
    disk_reason,
    is_storage_failure,
    storage_advice,
    storage_problem,
)
from ..io.whole.copies import copy_bytes
from ..io.whole.databases import create_database, give_name, new_database
from .connection import STORE_CATALOG, attach_store, close_store, configure, damaged, foreign_log
from .foreign_code import SeenFile, note_written
from .schema import check_schema, is_empty
from .snapshot import WritingSession
from .states import Identity, Record, identity_of, log_of, new_state

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """A working store that was opened to write."""

    connection: duckdb.DuckDBPyConnection
    session: WritingSession
    created: bool
    """Whether its file was made for it."""


def open_working(config: StoreConfig, snapshot: Path, working: Path, work: Path) -> Opened:
    """Attach the working store, under DuckDB's lock, with its schema up to date.

    Raises:
        FinsentError: as `Store.open`.
    """
    if working.is_symlink():
        raise CannotCreateError(f"{working} is a link and in the way of the store: remove it")
    there = _has_content(snapshot)
    if not there and _has_content(log_of(snapshot)):
        raise foreign_log(snapshot)
    taken_over = there and not working.exists()
    if taken_over:
        _take_over(snapshot, working)
    # At each attempt: the run that made the file may have removed it with itself.
    fresh = duckdb.connect(":memory:")
    try:
        created = create_database(working, fresh)
    except BaseException:
        fresh.close()
        raise
    if created is not None:
        note_written(working, created)
    file = SeenFile.of(working)
    connection = _attach(snapshot, working, fresh)
    try:
        configure(connection, config, work)
        made = created is not None
        check_schema(connection, snapshot, read_only=False, file=file, made=made)
        if _is_replaced(connection, snapshot, working):
            before = Record.of(connection)
            connection.execute(f"CHECKPOINT {STORE_CATALOG}")
            _take_over(snapshot, working, replace=True)
            connection.close()
            connection, taken_over = _attach(snapshot, working), True
            configure(connection, config, work)
            now = Record.of(connection)
            if before is None or now is None or now.state != before.state:
                logger.warning(
                    "%s is not what the last run published, but a backup or another store: it "
                    "counts from now on", snapshot,
                )  # fmt: skip
        _keep_mode(snapshot, working)
        session = WritingSession(connection, working, snapshot, taken_over=taken_over)
    except BaseException as error:
        close_store(connection, working if created is not None else None)
        if isinstance(error, duckdb.Error) and is_storage_failure(error):
            raise StorageError(
                f"cannot write the store {snapshot}: {storage_problem(error)} and run again"
            ) from None
        if isinstance(error, duckdb.Error) and classify(error) is Kind.DAMAGED:
            raise damaged(working, error) from None
        raise
    return Opened(connection, session, created is not None)


def _has_content(file: Path) -> bool:
    found = identity_of(file)
    return found is not None and found.size > 0


def _attach(
    snapshot: Path, working: Path, by: duckdb.DuckDBPyConnection | None = None
) -> duckdb.DuckDBPyConnection:
    before = working.stat().st_ino if working.exists() else None
    connection = attach_store(working, read_only=False, shown=snapshot, by=by)
    # DuckDB locks what it has opened, which may have been replaced or removed meanwhile.
    if before is None or not working.exists() or working.stat().st_ino != before:
        connection.close()
        raise TryAgainError(f"the store {snapshot} was replaced just now: run again")
    return connection


def _keep_mode(snapshot: Path, working: Path) -> None:
    """Let the working store be as private as the snapshot is."""
    with suppress(FileNotFoundError, PermissionError):
        mode = snapshot.stat().st_mode & 0o777 | stat.S_IRUSR | stat.S_IWUSR
        if working.stat().st_mode & 0o777 != mode:
            working.chmod(mode)


def _is_replaced(connection: duckdb.DuckDBPyConnection, snapshot: Path, working: Path) -> bool:
    """Return whether the file under the snapshot's name counts, not the working store.

    A working store with more than was published counts nevertheless where the file is the
    state that was published, changed or copied since.

    Raises:
        TryAgainError: another process has written to that file and still has it open.
        BadDataError, ConfigError: it is no store that can be read.
    """
    known = Record.of(connection) or Record("")
    now = identity_of(snapshot)
    if now is None or not now.size:
        if known.published is not None:
            logger.warning(
                "%s is gone: this run publishes it anew from %s; to begin a new store, remove both",
                snapshot, working,
            )  # fmt: skip
        return False
    if now == known.file:
        return False
    state = _state_of(snapshot)
    if state is None or state not in (known.state, known.published):
        return True
    if known.state == known.published:
        return True
    if state == known.published:
        logger.warning(
            "%s was changed or copied since it was published; what the last run left in %s counts",
            snapshot, working,
        )  # fmt: skip
    Record(known.state, state, now).write(connection)
    return False


def _state_of(snapshot: Path) -> str | None:
    """Return the state that a snapshot is of; None for a store of earlier versions."""
    with closing(attach_store(snapshot, read_only=True)) as connection:
        try:
            record = Record.of(connection)
        except duckdb.CatalogException:
            return None
    return None if record is None else record.state


def _take_over(snapshot: Path, working: Path, *, replace: bool = False) -> None:
    """Make the working store a copy of the file under the snapshot's name, whole or not at all.

    With `replace`, in the place of the working store, which the caller has open.

    Raises:
        TryAgainError: another process writes to the file, or has just made a working store.
        BadDataError, ConfigError: it is no store of ours.
        StorageError: the copy cannot be made.
    """
    try:
        # As long as it is attached, DuckDB's lock keeps writers away; closing another descriptor
        # of the file would free it.
        seen = SeenFile.of(snapshot)
        with ExitStack() as sources, closing(attach_store(snapshot, read_only=True)) as held:
            if not is_empty(held):
                check_schema(held, snapshot, read_only=True, file=seen)
            file = identity_of(snapshot)
            with new_database(working, held) as new:
                new.chmod(stat.S_IRUSR | stat.S_IWUSR)
                _copy(sources, snapshot, new)
                if log_of(snapshot).exists():
                    _copy(sources, log_of(snapshot), log_of(new))
                _bring_up_to_date(new, snapshot, file)
                if not give_name(new, working, replace=replace):
                    raise TryAgainError(f"another run has just made {working}: run again")
    except duckdb.Error as error:
        if is_storage_failure(error):
            raise _cannot_copy(snapshot, working, error) from None
        if classify(error) is Kind.DAMAGED:
            raise damaged(snapshot, error) from None
        raise
    except OSError as error:
        raise _cannot_copy(snapshot, working, error) from None


def _cannot_copy(snapshot: Path, working: Path, error: Exception) -> StorageError:
    return StorageError(
        f"cannot copy the store {snapshot} to {working} ({disk_reason(error)}): "
        f"{storage_advice(error)} and run again"
    )


def _copy(sources: ExitStack, source: Path, target: Path) -> None:
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    sources.callback(os.close, descriptor)
    with target.open("wb") as stream:
        copy_bytes(descriptor, stream.fileno(), target.parent)


def _bring_up_to_date(new: Path, snapshot: Path, file: Identity | None) -> None:
    """Give a copy of a snapshot this version's schema, and note what it is a copy of."""
    seen = SeenFile.of(new)
    with closing(attach_store(new, read_only=False, shown=snapshot)) as connection:
        check_schema(connection, snapshot, read_only=False, file=seen)
        state = (Record.of(connection) or Record(new_state(connection))).state
        Record(state, state, file).write(connection)
        connection.execute(f"CHECKPOINT {STORE_CATALOG}")
    with new.open("rb") as stream:
        keep_mode_and_owner(stream.fileno(), snapshot)
