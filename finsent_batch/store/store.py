"""The store: one DuckDB file that is cache, checkpoint, de-duplication and lineage at once.

A score belongs to a headline and a model. Whoever holds the file open for
writing is the one active run: DuckDB's own file lock, which dies with its
process, is the only lock there is.
"""

import glob
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import duckdb

from ..config import StoreConfig
from ..errors import CannotCreateError, MissingInputError, StorageError
from ..io.atomic import private_folder
from ..io.duckdb_errors import Kind, classify, is_storage_failure, storage_problem
from ..io.whole.databases import remove_unused
from .connection import STORE_CATALOG, configure, connect_in_time, damaged
from .schema import check_schema


class Store:
    """An open store. Use as a context manager; everything else borrows `connection`.

    A run's own tables live in the catalog `PLAN_CATALOG` beside it and spill
    to `<store>.work/`, which belongs to whoever holds the store and is emptied on
    opening: what a killed run left there is gone with the next one. A store made
    by a run that fails before it has done anything goes with it.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, path: Path, work: Path, *, created: bool
    ) -> None:
        self.connection = connection
        self.path = path
        self.work = work
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
        """
        path = config.path.expanduser().resolve()
        if (read_only or not create) and not path.exists():
            raise MissingInputError(f"no store at {path}: score something first, or name --store")
        if not path.parent.is_dir():
            raise CannotCreateError(f"the store's folder {path.parent} does not exist: create it")
        if path.is_dir():
            raise CannotCreateError(f"the store {path} is a folder: name a file with --store")
        if not read_only and not os.access(path.parent, os.W_OK):
            raise CannotCreateError(
                f"cannot write the store's folder {path.parent}, where DuckDB keeps its log: check "
                "permissions, or name another --store"
            )
        connection, created = connect_in_time(config, path, read_only=read_only, waiting=waiting)
        # Readers may be several at once: each has a folder of its own.
        work = path.with_name(path.name + (f".work.{os.getpid()}" if read_only else ".work"))
        try:
            configure(connection, config, work)
            check_schema(connection, path, read_only=read_only)
        except BaseException as error:
            _close(connection, path if created else None)
            if isinstance(error, duckdb.Error) and is_storage_failure(error):
                raise StorageError(
                    f"cannot write the store {path}: {storage_problem(error)} and run again"
                ) from None
            raise
        if not read_only:
            shutil.rmtree(work, ignore_errors=True)
            for left in path.parent.glob(glob.escape(work.name) + ".[0-9]*"):
                shutil.rmtree(left, ignore_errors=True)
        return cls(connection, path, work, created=created)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        unused = self._created and kind is not None and self._is_empty()
        _close(self.connection, self.path if unused else None)
        shutil.rmtree(self.work, ignore_errors=True)
        # What is damaged may be met long after opening.
        if isinstance(error, duckdb.Error) and classify(error) is Kind.DAMAGED:
            raise damaged(self.path, error) from None
        if isinstance(error, duckdb.Error) and is_storage_failure(error):
            raise StorageError(
                f"{storage_problem(error)} and run again; the store {self.path} is as it was "
                "last committed"
            ) from None

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


def _close(connection: duckdb.DuckDBPyConnection, unused: Path | None) -> None:
    """Close a store; the file of one that was made in vain goes, unless another has it by now."""
    last = None
    if unused is not None:
        with suppress(duckdb.Error, OSError):
            connection.execute(f"CHECKPOINT {STORE_CATALOG}")
            last = unused.stat()
    connection.close()
    if unused is not None and last is not None:
        remove_unused(unused, last)


def utc_now() -> datetime:
    """Return the time in UTC without a zone, as the store's TIMESTAMP columns hold it."""
    return datetime.now(UTC).replace(tzinfo=None)
