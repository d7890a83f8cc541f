"""How a store's file is opened: its schema, and what can be wrong with it said in one line."""

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
    StorageError,
    TryAgainError,
    first_line,
)
from ..io.duckdb_errors import lock_holder
from ..io.retry import retried
from ..io.sql import quote_literal
from ..io.whole.databases import create_database

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
STORE_CATALOG = "store"
"""The name under which the store's file is attached."""
PLAN_CATALOG = "plan"
"""The in-memory database beside it for a run's own tables; it spills to disk."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS store_info (schema_version INTEGER NOT NULL, created_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS scores (
    headline_key UUID NOT NULL, model_fingerprint VARCHAR NOT NULL, headline VARCHAR,
    p_negative FLOAT NOT NULL, p_neutral FLOAT NOT NULL, p_positive FLOAT NOT NULL,
    truncated BOOLEAN NOT NULL, run_id VARCHAR NOT NULL, scored_at TIMESTAMP NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    run_id VARCHAR PRIMARY KEY, status VARCHAR NOT NULL, exit_code INTEGER, version VARCHAR,
    started_at TIMESTAMP NOT NULL, finished_at TIMESTAMP, input VARCHAR, output VARCHAR,
    model VARCHAR, model_fingerprint VARCHAR, device VARCHAR, rows_read BIGINT,
    rows_scored BIGINT, rows_reused BIGINT, rows_truncated BIGINT, rows_empty BIGINT,
    rows_invalid BIGINT, unique_scored BIGINT, tokens BIGINT, seconds DOUBLE,
    headlines_per_second DOUBLE, options JSON, summary JSON);
CREATE TABLE IF NOT EXISTS run_files (
    run_id VARCHAR NOT NULL, input VARCHAR NOT NULL, input_table VARCHAR,
    output VARCHAR NOT NULL, output_table VARCHAR, rows BIGINT, published_at TIMESTAMP);
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS number BIGINT;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS text_column VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS date_column VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS date_format VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS timezone VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS undated BIGINT;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS faults JSON;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS row_limit BIGINT;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS content VARCHAR;
ALTER TABLE run_files ADD COLUMN IF NOT EXISTS forgotten_at TIMESTAMP;
CREATE TABLE IF NOT EXISTS models (
    model_fingerprint VARCHAR PRIMARY KEY, model VARCHAR, family VARCHAR, base VARCHAR,
    weights VARCHAR, path VARCHAR, first_used_at TIMESTAMP, details JSON);
CREATE TABLE IF NOT EXISTS evaluations (
    evaluated_at TIMESTAMP NOT NULL, model VARCHAR, model_fingerprint VARCHAR NOT NULL,
    data VARCHAR, n BIGINT, accuracy DOUBLE, macro_f1 DOUBLE, weighted_f1 DOUBLE, ece DOUBLE,
    metrics JSON);
CREATE TABLE IF NOT EXISTS promotions (
    promoted_at TIMESTAMP NOT NULL, model VARCHAR NOT NULL, model_fingerprint VARCHAR NOT NULL,
    weights VARCHAR NOT NULL, data VARCHAR, gates VARCHAR[], metrics JSON,
    rolled_back_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS quarantine (
    run_id VARCHAR NOT NULL, input VARCHAR NOT NULL, row_number BIGINT, line_number BIGINT,
    reason VARCHAR NOT NULL, content VARCHAR, recorded_at TIMESTAMP NOT NULL);
DROP TABLE IF EXISTS file_hashes;
CREATE TABLE IF NOT EXISTS hashed_files (
    path VARCHAR PRIMARY KEY, device UBIGINT NOT NULL, inode UBIGINT NOT NULL,
    size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, ctime_ns BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS file_marks (
    path VARCHAR NOT NULL, size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, mark JSON NOT NULL);
"""


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
        connection.execute(f"ATTACH {quote_literal(str(path))} AS {STORE_CATALOG} ({mode})")
        connection.execute(f"ATTACH ':memory:' AS {PLAN_CATALOG}")
        connection.execute(f"USE {STORE_CATALOG}")
        return connection
    except duckdb.IOException as error:
        connection.close()
        text = str(error)
        if "lock" in text:
            raise TryAgainError(
                f"the store {path} is in use by {lock_holder(text)}: "
                "wait for it to end, or give this run its own --store"
            ) from None
        if "not a valid DuckDB" in text:
            raise BadDataError(
                f"{path} is not a DuckDB database: name another --store, or move the file away"
            ) from None
        if "Could not read enough bytes" in text:
            raise damaged(path, error) from None
        if "WAL does not match" in text:
            raise BadDataError(
                f"{path}.wal belongs to another file than {path}: move it away and run again"
            ) from None
        if "newer version of DuckDB" in text:
            raise ConfigError(f"{path} was written by a newer DuckDB: upgrade duckdb") from None
        if not os.access(path.parent, os.W_OK) or "Permission denied" in text:
            raise CannotCreateError(
                f"cannot write the store {path}: check permissions, or name another --store"
            ) from None
        raise StorageError(f"cannot open the store {path}: {first_line(error)}") from None
    except duckdb.Error as error:
        connection.close()
        if "already attached" in str(error):
            raise TryAgainError(
                f"the store {path} is open elsewhere in this process: close it and run again"
            ) from None
        raise damaged(path, error) from None


def damaged(path: Path, error: duckdb.Error) -> BadDataError:
    """Return what to raise for a store that DuckDB cannot read."""
    return BadDataError(
        f"the store {path} is damaged ({first_line(error)}): move it away, then bring back "
        "the last export with finsent-batch store import, or let scores be computed anew"
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


def check_schema(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> None:
    """Refuse another program's file or a newer schema; make the tables that are missing.

    Raises:
        ConfigError: it is either, or empty and `read_only`.
    """
    tables = {row[0] for row in connection.execute("SHOW TABLES").fetchall()}
    if tables:
        try:
            # fetchall: after fetchone the connection counts as busy and refuses sql().
            [(version,)] = connection.execute(
                "SELECT max(schema_version) FROM store_info"
            ).fetchall()
        except (duckdb.CatalogException, duckdb.BinderException):
            raise ConfigError(
                f"{path} is a DuckDB file but not a finsent store: name another --store"
            ) from None
        if version is not None and version > SCHEMA_VERSION:
            raise ConfigError(
                f"the store {path} has schema {version}, this version knows {SCHEMA_VERSION}: "
                "upgrade finsent-batch, or name another --store"
            )
    elif read_only:
        raise ConfigError(f"the store {path} is empty: score something first")
    if not read_only:
        with_version = f"""
            INSERT INTO store_info SELECT {SCHEMA_VERSION}, now() AT TIME ZONE 'UTC'
            WHERE NOT EXISTS (FROM store_info)"""
        connection.begin()
        connection.execute(_SCHEMA)
        connection.execute(with_version)
        connection.commit()
