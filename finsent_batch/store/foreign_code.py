"""Refuse a store in which somebody keeps SQL that would act within ours."""

from pathlib import Path
from typing import Final

import duckdb

from ..errors import ConfigError
from ..io.sql import quote_identifier
from .connection import STORE_CATALOG

_SHADOWING: Final = """SELECT function_name FROM duckdb_functions() GROUP BY function_name
    HAVING bool_or(database_name = $1) AND bool_or(database_name <> $1)
    ORDER BY function_name"""
_TRIGGERS: Final = "SELECT trigger_name, table_name FROM duckdb_triggers() WHERE database_name = $1"


def check_no_foreign_code(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Refuse macros of the store named like functions of DuckDB, which they hide, and triggers.

    Raises:
        ConfigError: there are some; the message names one and how to remove it.
    """
    # Looked up here alone, DuckDB's own functions cannot be hidden from the question itself.
    connection.execute("SET search_path = 'system.main'")
    try:
        macros = [name for (name,) in connection.execute(_SHADOWING, [STORE_CATALOG]).fetchall()]
        triggers = connection.execute(_TRIGGERS, [STORE_CATALOG]).fetchall()
    finally:
        connection.execute(f"USE {STORE_CATALOG}")
    if macros:
        raise ConfigError(
            f"the store {path} holds a macro {macros[0]!r} that hides DuckDB's own function: "
            f"open it in the duckdb shell, DROP MACRO {quote_identifier(macros[0])} and run again"
        )
    for name, table in triggers:
        raise ConfigError(
            f"the store {path} holds a trigger {name!r} that would change what is written: open "
            f"it in the duckdb shell, DROP TRIGGER {quote_identifier(name)} ON {table}, run again"
        )
