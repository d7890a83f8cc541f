"""Open the store's file: attach it, configure the connection, say what is wrong with it."""

import os
from contextlib import suppress
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
from ..io.paths import snapshot_of, working_of
from ..io.sql import database_literal, quote_literal
from ..io.whole.databases import remove_unused

STORE_CATALOG = "store"
"""The name under which the store's file is attached."""
PLAN_CATALOG = "plan"
"""The in-memory database beside it for a run's own tables; it spills to disk."""


def attach_store(
    file: Path,
    *,
    read_only: bool,
    shown: Path | None = None,
    by: duckdb.DuckDBPyConnection | None = None,
) -> duckdb.DuckDBPyConnection:
    """Attach a store's file, under the lock that DuckDB has on what it opened.

    `shown` is the store's name, where the file has another. `by` is a connection to nothing yet
    to attach it to, which is closed where that fails.

    Raises:
        TryAgainError, ConfigError, BadDataError, CannotCreateError, StorageError: as `Store.open`.
    """
    connection = by or duckdb.connect(":memory:")
    # The type is named lest a file's suffix or first bytes choose another.
    mode = "TYPE duckdb, READ_ONLY" if read_only else "TYPE duckdb"
    try:
        connection.execute(f"ATTACH {database_literal(file)} AS {STORE_CATALOG} ({mode})")
        connection.execute(f"ATTACH ':memory:' AS {PLAN_CATALOG}")
        connection.execute(f"USE {STORE_CATALOG}")
        return connection
    except duckdb.Error as error:
        connection.close()
        raise _cannot_open(file, shown or file, error, read_only=read_only) from None


def _cannot_open(path: Path, shown: Path, error: duckdb.Error, *, read_only: bool) -> FinsentError:
    match classify(error):
        case Kind.LOCKED if read_only:
            return TryAgainError(
                f"the store {shown} is in use by {lock_holder(error)}, which opened it to write: "
                "end that, or open it there to read, as duckdb -readonly does"
            )
        case Kind.LOCKED:
            return TryAgainError(
                f"the store {shown} is in use by {lock_holder(error)}: "
                "wait for it to end, or give this run its own --store"
            )
        case Kind.ALREADY_OPEN:
            return TryAgainError(
                f"the store {shown} is open elsewhere in this process: close it and run again"
            )
        case Kind.NOT_A_DATABASE:
            return BadDataError(
                f"{path} is not a DuckDB database: name another --store, or move the file away"
            )
        case Kind.FOREIGN_WAL:
            return foreign_log(path)
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


def foreign_log(path: Path) -> BadDataError:
    """Return what to raise for a write-ahead log that is not of the file beside it."""
    return BadDataError(
        f"{path}.wal belongs to another file than {path}: move it away and run again"
    )


def damaged(path: Path, error: duckdb.Error) -> BadDataError:
    """Return what to raise for a store that DuckDB cannot read."""
    return BadDataError(f"the store {path} is damaged ({first_line(error)}): {advice_on(path)}")


def advice_on(damaged: Path) -> str:
    """Return what to do with one of a store's two files that cannot be used."""
    snapshot = snapshot_of(damaged)
    other = working_of(snapshot) if damaged == snapshot else snapshot
    if other.exists():
        return f"move it away, and the next run goes on from {other}"
    return (
        "move it away, then bring back the last export with finsent-batch store import, or let "
        "scores be computed again"
    )


def close_store(connection: duckdb.DuckDBPyConnection, unused: Path | None = None) -> None:
    """Close a store; the file of one that was made in vain goes, unless another has it by now."""
    last = None
    if unused is not None:
        with suppress(duckdb.Error, OSError):
            connection.execute(f"CHECKPOINT {STORE_CATALOG}")
            last = unused.stat()
    connection.close()
    if unused is not None and last is not None:
        remove_unused(unused, last)


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
