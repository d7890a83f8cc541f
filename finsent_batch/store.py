"""The store: one DuckDB file that is cache, checkpoint, de-duplication and lineage at once.

A score belongs to a headline and a model. Whoever holds the file open for
writing is the one active run: DuckDB's own file lock, which dies with its
process, is the only lock there is.
"""

import glob
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb

from .config import StoreConfig
from .errors import (
    BadDataError,
    CannotCreateError,
    ConfigError,
    MissingInputError,
    StorageError,
    TryAgainError,
)
from .sql_text import quote_literal

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
CREATE TABLE IF NOT EXISTS file_hashes (
    path VARCHAR PRIMARY KEY, size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL);
"""


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
    def open(cls, config: StoreConfig, *, read_only: bool = False, create: bool = True) -> Self:
        """Open the store, creating it unless `read_only` or told not to.

        Raises:
            MissingInputError: there is none, and none is to be created.
            TryAgainError: another process has it open for writing.
            ConfigError: a newer version of this program wrote it.
            BadDataError: the file is no DuckDB database or is damaged.
            CannotCreateError: the folder is missing or not writable.
        """
        path = config.path.expanduser().resolve()
        if (read_only or not create) and not path.exists():
            raise MissingInputError(f"no store at {path}: score something first, or name --store")
        if not path.parent.is_dir():
            raise CannotCreateError(f"the store's folder {path.parent} does not exist: create it")
        if path.is_dir():
            raise CannotCreateError(f"the store {path} is a folder: name a file with --store")
        created = not path.exists()
        number = 0 if created else path.stat().st_ino
        connection = _connect(path, read_only=read_only)
        if not created and path.stat().st_ino != number:
            connection.close()
            raise TryAgainError(f"the store {path} was replaced just now: run again")
        # Readers may be several at once: each has a folder of its own.
        work = path.with_name(path.name + (f".work.{os.getpid()}" if read_only else ".work"))
        try:
            _configure(connection, config, work)
            _check_schema(connection, path, read_only=read_only)
        except BaseException:
            connection.close()
            if created:
                path.unlink(missing_ok=True)
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
        self.connection.close()
        shutil.rmtree(self.work, ignore_errors=True)
        if unused:
            self.path.unlink(missing_ok=True)
        # What is damaged may be met long after opening.
        if isinstance(error, duckdb.Error) and is_damage(error):
            raise _damaged(self.path, error) from None
        if isinstance(error, duckdb.Error) and is_out_of_space(error):
            raise StorageError(
                f"the disk is full ({first_line(error)}): the store {self.path} is as it was "
                "last committed; make room and run again"
            ) from None

    def _is_empty(self) -> bool:
        try:
            tables = (f"EXISTS (FROM {STORE_CATALOG}.{name})" for name in ("runs", "evaluations"))
            return not self.query(f"SELECT {' OR '.join(tables)}")[0][0]
        except duckdb.Error:
            return False

    def work_folder(self) -> Path:
        """Return the run's scratch folder beside the store, created on first use."""
        self.work.mkdir(exist_ok=True)
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
        marks = ", ".join("?" for _ in row)
        self.connection.execute(
            f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})"
            if table in ("runs", "models", "file_hashes")
            else f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})",
            list(row.values()),
        )

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run SQL and return all its rows."""
        rows: list[tuple[Any, ...]] = self.connection.execute(sql, list(parameters)).fetchall()
        return rows


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
            raise _damaged(path, error) from None
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
        raise _damaged(path, error) from None


def _damaged(path: Path, error: duckdb.Error) -> BadDataError:
    return BadDataError(
        f"the store {path} is damaged ({first_line(error)}): move it away, then bring back "
        "the last export with finsent-batch store import, or let scores be computed anew"
    )


def _configure(connection: duckdb.DuckDBPyConnection, config: StoreConfig, work: Path) -> None:
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


def _check_schema(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> None:
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


def lock_holder(message: str) -> str:
    """Return who holds a DuckDB file, from DuckDB's own message."""
    match = re.search(r"held in (.+?) \(PID (\d+)\)(?: by user (\S+?))?[.\s]", message)
    if not match:
        return "another process"
    name = Path(match[1]).name
    return f"process {match[2]} ({name}{', user ' + match[3] if match[3] else ''})"


def first_line(error: BaseException) -> str:
    """Return an error's message as one line of at most 300 characters."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def is_damage(error: BaseException) -> bool:
    """Return whether this is what a truncated or corrupt DuckDB file looks like."""
    text = str(error)
    return "Could not read enough bytes" in text or "Corrupt database" in text


def is_out_of_space(error: BaseException) -> bool:
    """Return whether this is what a full disk looks like from DuckDB."""
    signs = ("No space left", "failed to offload", "Could not write")
    return any(sign in str(error) for sign in signs)
