"""Open the store's file: attach it, configure the connection, say what is wrong with it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import duckdb

from ..config import StoreConfig
from ..errors import (
    BadDataError,
    CannotCreateError,
    ConfigError,
    FinsentError,
    StorageError,
    TryAgainError,
    first_line,
)
from ..io.duckdb_errors import Kind, classify, lock_holder, storage_problem
from ..io.retry import retried
from ..io.sql import database_literal, quote_literal
from ..io.whole.databases import create_database

logger = logging.getLogger(__name__)

STORE_CATALOG = "store"
"""The name under which the store's file is attached."""
PLAN_CATALOG = "plan"
"""The in-memory database beside it for a run's own tables; it spills to disk."""


def connect_in_time(
    config: StoreConfig, path: Path, *, read_only: bool, waiting: Callable[[], None]
) -> tuple[duckdb.DuckDBPyConnection, bool]:
    """Attach the store's file, made if need be, trying for `config.lock_wait` seconds.

    Returns the connection, and whether the file was made.

    Raises:
        TryAgainError, ConfigError, BadDataError, CannotCreateError, StorageError: as `Store.open`.
    """

    def connect() -> tuple[duckdb.DuckDBPyConnection, bool]:
        # At each attempt: the run that made the file may have removed it with itself.
        created = not read_only and create_database(path)
        before = path.stat().st_ino if path.exists() else None
        connection = _connect(path, read_only=read_only)
        # DuckDB locks what it has opened, which may have been replaced or removed meanwhile.
        if before is None or not path.exists() or path.stat().st_ino != before:
            connection.close()
            raise TryAgainError(f"the store {path} was replaced just now: run again")
        return connection, created

    def told(error: TryAgainError) -> None:
        logger.warning("waiting up to %g seconds: %s", config.lock_wait, error)

    return retried(connect, config.lock_wait, told=told, waiting=waiting)


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    # The type is named lest a file's suffix or first bytes choose another.
    mode = "TYPE duckdb, READ_ONLY" if read_only else "TYPE duckdb"
    try:
        connection.execute(f"ATTACH {database_literal(path)} AS {STORE_CATALOG} ({mode})")
        connection.execute(f"ATTACH ':memory:' AS {PLAN_CATALOG}")
        connection.execute(f"USE {STORE_CATALOG}")
        return connection
    except duckdb.Error as error:
        connection.close()
        raise _cannot_open(path, error) from None


def _cannot_open(path: Path, error: duckdb.Error) -> FinsentError:
    match classify(error):
        case Kind.LOCKED:
            return TryAgainError(
                f"the store {path} is in use by {lock_holder(error)}: "
                "wait for it to end, or give this run its own --store"
            )
        case Kind.ALREADY_OPEN:
            return TryAgainError(
                f"the store {path} is open elsewhere in this process: close it and run again"
            )
        case Kind.NOT_A_DATABASE:
            return BadDataError(
                f"{path} is not a DuckDB database: name another --store, or move the file away"
            )
        case Kind.FOREIGN_WAL:
            return BadDataError(
                f"{path}.wal belongs to another file than {path}: move it away and run again"
            )
        case Kind.NEWER_DUCKDB:
            return ConfigError(f"{path} was written by a newer DuckDB: upgrade duckdb")
        case Kind.DISK_FULL | Kind.IO_FAILED:
            return StorageError(
                f"cannot open the store {path}: {storage_problem(error)} and run again"
            )
        case Kind.DAMAGED:
            return damaged(path, error)
    if not isinstance(error, duckdb.IOException):
        return damaged(path, error)
    if not os.access(path.parent, os.W_OK) or classify(error) is Kind.NO_PERMISSION:
        return CannotCreateError(
            f"cannot write the store {path}: check permissions, or name another --store"
        )
    return StorageError(f"cannot open the store {path}: {first_line(error)}")


def damaged(path: Path, error: duckdb.Error) -> BadDataError:
    """Return what to raise for a store that DuckDB cannot read."""
    return BadDataError(
        f"the store {path} is damaged ({first_line(error)}): move it away, then bring back "
        "the last export with finsent-batch store import, or let scores be computed again"
    )


def configure(connection: duckdb.DuckDBPyConnection, config: StoreConfig, work: Path) -> None:
    """Set memory limit, spill folder and what else a run relies on.

    Raises:
        ConfigError: the memory limit is no size.
    """
    try:
        connection.execute(f"SET memory_limit = {quote_literal(config.memory_limit)}")
    except duckdb.Error:
        raise ConfigError(
            f"memory limit {config.memory_limit!r} is not a size such as 512MB or 2GB"
        ) from None
    connection.execute(f"SET temp_directory = {quote_literal(str(work))}")
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET GLOBAL arrow_lossless_conversion = true")
    connection.execute("SET enable_progress_bar = false")
