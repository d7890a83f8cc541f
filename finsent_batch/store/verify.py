"""Verify a store: every block readable, its tables consistent."""

import logging
import os

import duckdb

from ..config import StoreConfig
from ..errors import BadDataError, first_line
from ..io.paths import working_of
from ..io.sql import read_sql, sql_names
from .connection import STORE_CATALOG, advice_on
from .store import Store

logger = logging.getLogger(__name__)

_INDEXED = {"runs": "run_id", "models": "model_fingerprint", "hashed_files": "path"}


def check_store(config: StoreConfig) -> int:
    """Check a store by all that is known to go wrong and return the number of its scores.

    Both files are read, the snapshot and the working store; the latter only where it may be
    written, as it takes the lock of a run.

    Raises:
        BadDataError: it is not sound; the message says how to go on.
        MissingInputError, TryAgainError: see `Store.open`.
    """
    path, working = config.path, working_of(config.path)
    scores = 0
    if path.exists() or not working.exists():
        with Store.open(config, read_only=True) as store:
            scores = _checked(store, verify(store))
    if os.access(path.parent, os.W_OK) and all(
        os.access(file, os.W_OK) for file in (path, working) if file.exists()
    ):
        with Store.open(config, create=False) as store:
            findings = verify(store) or rehearse(store)
            if findings and store.session is not None:
                store.session.leave()  # what is not sound takes no one's place
            scores = _checked(store, findings)
    else:
        logger.warning(
            "the store %s was only read: this user may not write to it, so runs end with 73",
            path,
        )
    return scores


def _checked(store: Store, findings: list[str]) -> int:
    """Return the number of scores of a sound store, and refuse one that is not."""
    if findings:
        advice = advice_on(store.file)
        raise BadDataError(f"the store {store.file} is not sound: {'; '.join(findings)}: {advice}")
    scores: int = store.query("SELECT count(*) FROM scores")[0][0]
    return scores


def rehearse(store: Store) -> list[str]:
    """Insert into each table that has an index, roll back, and return what went wrong.

    Reading meets every row, but an index is read by writing alone.
    """
    try:
        store.connection.begin()
        try:
            for table, key in _INDEXED.items():
                row = f"SELECT * REPLACE (uuid()::VARCHAR AS {key}) FROM {table} LIMIT 1"
                store.connection.execute(f"INSERT INTO {table} {row}")
        finally:
            store.connection.rollback()
    except duckdb.Error as error:
        return [f"cannot be written: {first_line(error)}"]
    return []


def verify(store: Store) -> list[str]:
    """Return what is wrong with the store's contents, one line each; empty when it is sound.

    Reads every column of every table once, so a damaged block is met.
    """
    try:
        for (table,) in store.query(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1",
            [STORE_CATALOG],
        ):
            store.query(f'SELECT count(*), bit_xor(hash(t)) FROM "{table}" t')
        return inconsistencies(store)
    except duckdb.Error as error:
        return [f"cannot be read: {first_line(error)}"]


def inconsistencies(store: Store) -> list[str]:
    """Return which of the rules in `sql/store/checks/` are broken, and how often."""
    findings = []
    for name in sql_names("store/checks"):
        check = read_sql(f"store/checks/{name}")
        [(count,)] = store.query(check)
        if count:
            findings.append(f"{count} {check.splitlines()[0].removeprefix('-- ')}")
    return findings
