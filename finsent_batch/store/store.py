"""The store: a DuckDB file that is cache, checkpoint, de-duplication and lineage at once.

A score belongs to a headline and a model. Whoever has the working store open is
the one active run: DuckDB's own file lock, which dies with its process, is the
only lock there is. Readers open the snapshot that each run publishes, see `snapshot`.
"""

import glob
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import duckdb

from ..config import StoreConfig
from ..errors import (
    CannotCreateError,
    FinsentError,
    MissingInputError,
    StorageError,
    TryAgainError,
    UsageError,
)
from ..io.atomic import private_folder
from ..io.duckdb_errors import Kind, classify, is_storage_failure, storage_problem
from ..io.paths import snapshot_of, working_of
from ..io.retry import retried
from ..io.whole.system_errors import check_reachable, check_target
from .connection import STORE_CATALOG, attach_store, close_store, configure, damaged
from .foreign_code import SeenFile
from .schema import check_schema
from .snapshot import WritingSession
from .takeover import open_working

logger = logging.getLogger(__name__)


class Store:
    """An open store. Use as a context manager; everything else borrows `connection`.

    To write, the working store is open, under its lock, and leaving the context publishes
    the snapshot if anything was committed. To read, the snapshot is.

    A run's own tables live in the catalog `PLAN_CATALOG` beside it and spill
    to `<store>.work/`, which belongs to whoever holds the store and is emptied on
    opening: what a killed run left there is gone with the next one. A store made
    by a run that fails before it has done anything goes with it.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: Path,
        work: Path,
        *,
        session: WritingSession | None = None,
        created: bool = False,
    ) -> None:
        self.connection = connection
        self.path = path
        self.file = path if session is None else working_of(path)
        """The file that is open; `path` is the name that people know."""
        self.work = work
        self.session = session
        self._created = created

    @classmethod
    def open(
        cls,
        config: StoreConfig,
        *,
        read_only: bool = False,
        create: bool = True,
        waiting: Callable[[], None] = lambda: None,
    ) -> Self:
        """Open the store, creating it unless `read_only` or told not to.

        Where another process holds it, try for `config.lock_wait` seconds; `waiting` is
        called between attempts and may raise.

        Raises:
            MissingInputError: there is none, and none is to be created.
            TryAgainError: another process still has it open for writing.
            ConfigError: a newer version of this program wrote it.
            BadDataError: the file is no DuckDB database or is damaged.
            CannotCreateError: the folder is missing or not writable.
            StorageError: the system does not let it be opened.
            UsageError: it is the working store of another name.
        """
        path = config.path.expanduser().resolve()
        _check_place(path, read_only=read_only, create=create)

        def told(error: TryAgainError) -> None:
            logger.warning("waiting up to %g seconds: %s", config.lock_wait, error)

        attempt = partial(cls._read if read_only else cls._write, config, path)
        return retried(attempt, config.lock_wait, told=told, waiting=waiting)

    @classmethod
    def _read(cls, config: StoreConfig, path: Path) -> Self:
        # Readers may be several at once: each has a folder of its own.
        work = path.with_name(f"{path.name}.work.{os.getpid()}")
        file = SeenFile.of(path)
        connection = attach_store(path, read_only=True)
        if not os.access(path.parent, os.W_OK):
            work = Path(tempfile.mkdtemp(prefix=f"{work.name}-"))
        try:
            configure(connection, config, work)
            check_schema(connection, path, read_only=True, file=file)
        except BaseException:
            connection.close()
            shutil.rmtree(work, ignore_errors=True)
            raise
        return cls(connection, path, work)

    @classmethod
    def _write(cls, config: StoreConfig, path: Path) -> Self:
        work = path.with_name(f"{path.name}.work")
        opened = open_working(config, path, working_of(path), work)
        shutil.rmtree(work, ignore_errors=True)
        for left in path.parent.glob(glob.escape(work.name) + ".[0-9]*"):
            shutil.rmtree(left, ignore_errors=True)
        return cls(opened.connection, path, work, session=opened.session, created=opened.created)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        unused = self._created and kind is not None and self._is_empty()
        problem = error
        try:
            if self.session is not None and not unused:
                self.session.end()
        except (duckdb.Error, FinsentError) as failed:
            if error is None:
                problem = failed
            else:  # whose reason is being told already
                logger.info("the snapshot %s is an earlier one: %s", self.path, failed)
        finally:
            close_store(self.connection, self.file if unused else None)
            if self.session is not None:
                self.session.release()
            shutil.rmtree(self.work, ignore_errors=True)
        # What is damaged may be met long after opening.
        if isinstance(problem, duckdb.Error) and classify(problem) is Kind.DAMAGED:
            raise damaged(self.file, problem) from None
        if isinstance(problem, duckdb.Error) and is_storage_failure(problem):
            raise StorageError(
                f"{storage_problem(problem)} and run again; the store {self.path} is as it was "
                "last committed"
            ) from None
        if problem is not None and problem is not error:
            raise problem

    def _is_empty(self) -> bool:
        try:
            tables = (f"EXISTS (FROM {STORE_CATALOG}.{name})" for name in ("runs", "evaluations"))
            return not self.query(f"SELECT {' OR '.join(tables)}")[0][0]
        except duckdb.Error:
            return False

    def work_folder(self) -> Path:
        """Return the run's scratch folder beside the store, created on first use."""
        private_folder(self.work)
        return self.work

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Commit what the block does to the store, or nothing of it."""
        if self.session is not None:
            self.session.keep_log_private()
        self.connection.begin()
        try:
            yield self.connection
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    def insert(self, table: str, row: dict[str, Any]) -> None:
        """Insert one row given by column name."""
        self._insert("INSERT", table, row)

    def upsert(self, table: str, row: dict[str, Any]) -> None:
        """Insert one row, or set its columns in the row that has its primary key."""
        self._insert("INSERT OR REPLACE", table, row)

    def _insert(self, verb: str, table: str, row: dict[str, Any]) -> None:
        places = ", ".join("?" for _ in row)
        self.connection.execute(
            f"{verb} INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values())
        )

    def after(self, table: str, column: str, now: datetime) -> datetime:
        """Return `now`, or a moment after the latest of a table where the clock is behind it.

        Promotions, publications and runs are ordered by their times: the last one made is
        then the last one, whatever the clocks of those before it said.
        """
        [(latest,)] = self.query(f"SELECT max({column}) FROM {table}")
        return now if latest is None else max(now, latest + timedelta(microseconds=1))

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run SQL and return all its rows."""
        rows: list[tuple[Any, ...]] = self.connection.execute(sql, list(parameters)).fetchall()
        return rows


def _check_place(path: Path, *, read_only: bool, create: bool) -> None:
    """Raise what `Store.open` does where there is no store, or none can be made."""
    (check_reachable if read_only else check_target)(path)
    if path != snapshot_of(path):
        raise UsageError(
            f"{path} is what commands write to, not the store that they are given: name "
            f"{snapshot_of(path)} with --store"
        )
    if (read_only or not create) and not path.exists():
        if not working_of(path).exists():
            raise MissingInputError(f"no store at {path}: score something first, or name --store")
        if read_only:
            raise MissingInputError(
                f"{path} is not there yet: the first run makes it at its end, and the next one if "
                "that was killed"
            )
    if not path.parent.is_dir():
        raise CannotCreateError(f"the store's folder {path.parent} does not exist: create it")
    if path.is_dir():
        raise CannotCreateError(f"the store {path} is a folder: name a file with --store")
    if not read_only and not os.access(path.parent, os.W_OK):
        raise CannotCreateError(
            f"cannot write the store's folder {path.parent}, where DuckDB keeps its log: check "
            "permissions, or name another --store"
        )


def utc_now() -> datetime:
    """Return the time in UTC without a zone, as the store's TIMESTAMP columns hold it."""
    return datetime.now(UTC).replace(tzinfo=None)
