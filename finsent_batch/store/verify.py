"""Verify a store: every block readable, its tables consistent."""

import os

import duckdb

from ..config import StoreConfig
from ..errors import BadDataError, first_line
from ..io.sql import read_sql, sql_names
from .connection import STORE_CATALOG
from .store import Store

_INDEXED = {"runs": "run_id", "models": "model_fingerprint", "hashed_files": "path"}


def check_store(config: StoreConfig) -> int:
    """Check a store by all that is known to go wrong and return the number of its scores.

    Raises:
        BadDataError: it is not sound; the message says how to go on.
        MissingInputError, TryAgainError: see `Store.open`.
    """
    with Store.open(config, read_only=True) as store:
        findings = verify(store)
        scores: int = 0 if findings else store.query("SELECT count(*) FROM scores")[0][0]
    if not findings and os.access(store.path, os.W_OK) and os.access(store.path.parent, os.W_OK):
        with Store.open(config, create=False) as store:
            findings = rehearse(store)
    if findings:
        raise BadDataError(
            f"the store {store.path} is not sound: {'; '.join(findings)}. Move it away, then "
            "bring back the last export with finsent-batch store import, or let scores be "
            "computed again"
        )
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
