"""Publish the snapshot that people read, a copy of the working store that commands write to.

`finsent.duckdb` is a snapshot: a writing command publishes it at its end, by rename, and who has
an earlier one open keeps that. `finsent.duckdb.working` beside it is what commands write to, and
nobody else opens it.
"""

import errno
import logging
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

import duckdb

from ..errors import CannotCreateError, FinsentError, StorageError
from ..failpoints import failpoint
from ..io.atomic import (
    force_to_disk,
    keep_mode_and_owner,
    opened_temporary,
    temporary_of,
)
from ..io.duckdb_errors import disk_reason, storage_advice
from ..io.whole.copies import copy_bytes
from ..io.whole.watched import state_of
from .connection import STORE_CATALOG
from .foreign_code import SeenFile, note_written
from .states import Identity, Record, identity_of, log_of, new_state

logger = logging.getLogger(__name__)

_LONG_SECONDS = 10.0
_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EISDIR)


class WritingSession:
    """What one command does to the working store, from its opening to the snapshot at its end."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        working: Path,
        snapshot: Path,
        *,
        taken_over: bool,
    ) -> None:
        self._connection = connection
        self._working = working
        self._file = SeenFile.of(working)
        self._snapshot = snapshot
        self._taken_over = taken_over
        self._over = False
        self._held: list[int] = []
        self._found = Record.of(connection) or Record("")
        self._now = Record(new_state(connection), self._found.published, self._found.file)
        self.keep_log_private()
        self._now.write(connection)
        self._begun = self._written()

    def _written(self) -> tuple[Identity | None, Identity | None]:
        return identity_of(self._working), identity_of(log_of(self._working))

    def keep_log_private(self) -> None:
        """Let the log of a store that not everybody may read have the store's permissions.

        DuckDB makes it anew after each checkpoint, with those of any new file.
        """
        mode = self._working.stat().st_mode & 0o777
        if mode & stat.S_IROTH:
            return
        with suppress(OSError):  # which DuckDB then meets itself
            how = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(log_of(self._working), how, mode)
            try:
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)

    def end(self) -> None:
        """Publish what was committed, in this session or in one that was killed, if anything was.

        Raises:
            FinsentError: as `publish`.
            duckdb.Error: the store cannot be read or written.
        """
        if self._over:
            return
        with suppress(duckdb.Error):
            self._connection.rollback()  # what a failure left open
        if self._found.state == self._found.published and self._written() == self._begun:
            self._note(self._found)
        else:
            self._note(Record(self._now.state, self._now.state, self.publish(self._working)))
            failpoint("snapshot_noted")

    def _note(self, record: Record) -> None:
        record.write(self._connection)
        # With nothing left to write, no connection that outlives this one will write it.
        self._connection.execute(f"CHECKPOINT {STORE_CATALOG}")
        self._file.note_own()
        self._over = True

    def leave(self) -> None:
        """Do nothing at the end: what is published is noted, or will be by the next session."""
        self._over = True

    def publish(self, source: Path) -> Identity:
        """Put a copy of the store under the snapshot's name, whole or not at all.

        `source` is the working store, or a file that will be it.

        Raises:
            StorageError, CannotCreateError: it cannot be written; the earlier one stays.
            TryAgainError: another process is writing this very file.
        """
        begun = time.monotonic()
        failpoint("snapshot")
        self._connection.execute(f"CHECKPOINT {STORE_CATALOG}")
        try:
            with opened_temporary(self._snapshot) as target:
                # Closing it would free the lock that DuckDB has on the file, until DuckDB closes.
                read = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                self._held.append(read)
                earlier = self._snapshot if self._snapshot.exists() else self._working
                keep_mode_and_owner(target, earlier)
                copy_bytes(read, target, self._snapshot.parent)
                os.fsync(target)
                found = os.fstat(target)
                failpoint("before_snapshot")
                self._remove_log()
                temporary_of(self._snapshot).replace(self._snapshot)
                if source != self._working or self._file.is_still(state_of(os.fstat(read))):
                    note_written(self._snapshot, os.fstat(target))
            force_to_disk(self._snapshot.parent)
        except OSError as error:
            raise self._cannot_publish(error) from None
        failpoint("snapshot_renamed")
        self._tell(found.st_size, time.monotonic() - begun)
        return Identity(found.st_size, found.st_mtime_ns)

    def _remove_log(self) -> None:
        """Remove the log of the file that is replaced: DuckDB would look for it beside the new."""
        log = log_of(self._snapshot)
        if log.exists():
            if log.stat().st_size and not self._taken_over:
                logger.warning(
                    "what another program has just written to %s is not kept: open it to read, as "
                    "duckdb -readonly does", self._snapshot,
                )  # fmt: skip
            log.unlink(missing_ok=True)

    def _tell(self, size: int, seconds: float) -> None:
        logger.log(
            logging.WARNING if seconds > _LONG_SECONDS else logging.INFO,
            "copying the store to %s for its readers took %.1f seconds (%.0f MB); "
            "finsent-batch store compact --keep-runs N makes it smaller",
            self._snapshot, seconds, size / 1e6,
        )  # fmt: skip

    def _cannot_publish(self, error: OSError) -> FinsentError:
        kept = f"what was committed is kept in {self._working}"
        if error.errno in _NO_PLACE:
            return CannotCreateError(
                f"cannot replace {self._snapshot} ({error.strerror}): make that possible, or name "
                f"another --store; {kept}"
            )
        return StorageError(
            f"writing {self._snapshot} failed ({disk_reason(error)}): the earlier file is "
            f"untouched, and {kept}; {storage_advice(error)} and run again"
        )

    def release(self) -> None:
        """Close what had to stay open as long as DuckDB had the working store open."""
        while self._held:
            os.close(self._held.pop())
