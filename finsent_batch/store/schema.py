"""The store's schema: made whole in a new store, brought up to date step by step in an older one.

`sql/store/schema.sql` has the tables as they are now. A change to them is a new file in
`sql/store/migrations/`, numbered, beside the same change there. `store_info` has a row for
each schema that the store has had.
"""

import logging
from pathlib import Path
from typing import Final

import duckdb

from ..errors import ConfigError
from ..io.sql import quote_identifier, read_sql, sql_names
from .connection import STORE_CATALOG
from .foreign_code import SeenFile, check_no_foreign_code

logger = logging.getLogger(__name__)


def _numbered_migrations() -> dict[int, str]:
    folder = "store/migrations"
    return {int(name.partition("_")[0]): f"{folder}/{name}" for name in sql_names(folder)}


MIGRATIONS: Final = _numbered_migrations()
"""The SQL files that lead from one schema to the next, by the number of the schema they lead to."""
SCHEMA_VERSION: Final = max(MIGRATIONS)


def check_schema(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    *,
    read_only: bool,
    file: SeenFile,
    made: bool = False,
) -> None:
    """Make the tables of an empty store, bring those of an older one up to date.

    An older store that is only read stays as it is and is seen as one of this schema. `path` is
    the name that people know the store by, `file` what was attached; it was `made` empty just now.

    Raises:
        ConfigError: another program's file, a newer schema, or empty and `read_only`; a macro
            or trigger that changes what our SQL does.
    """
    if made and file.is_clean():  # nobody has written to it: DuckDB takes 9 ms to find no table
        _apply(connection, {SCHEMA_VERSION: "store/schema"})
        return
    check_no_foreign_code(connection, path, file)
    version = _version_of(connection)
    if version is None:
        if not is_empty(connection):
            raise ConfigError(
                f"{path} is a DuckDB file but not a finsent store: name another --store"
            )
        if read_only:
            raise ConfigError(f"the store {path} is empty: score something first")
        _apply(connection, {SCHEMA_VERSION: "store/schema"})
        return
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"the store {path} has schema {version}, this version knows {SCHEMA_VERSION}: "
            "upgrade finsent-batch, or name another --store"
        )
    if version == SCHEMA_VERSION:
        return
    if read_only:
        _complete_for_reading(connection)
        return
    _apply(connection, {n: MIGRATIONS[n] for n in sorted(MIGRATIONS) if n > version})
    logger.info("the store %s went from schema %d to %d", path, version, SCHEMA_VERSION)


def is_empty(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether a file has no tables and no views."""
    return not connection.execute("SHOW TABLES").fetchall()


def _version_of(connection: duckdb.DuckDBPyConnection) -> int | None:
    """Return a store's schema; None where the file is no store."""
    try:
        # fetchall: after fetchone the connection counts as busy and refuses sql().
        [(version,)] = connection.execute("SELECT max(schema_version) FROM store_info").fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return None
    return version or 1


def _apply(connection: duckdb.DuckDBPyConnection, steps: dict[int, str]) -> None:
    """Run SQL files and record the schema that each leads to, all or nothing."""
    connection.begin()
    for version, name in steps.items():
        connection.execute(read_sql(name))
        connection.execute("INSERT INTO store_info VALUES (?, now() AT TIME ZONE 'UTC')", [version])
    connection.commit()


def _complete_for_reading(connection: duckdb.DuckDBPyConnection) -> None:
    """Let SQL find the tables and columns that an older store lacks: empty, or NULL."""
    columns = """SELECT table_name, column_name, data_type FROM duckdb_columns()
        WHERE database_name = current_database() AND schema_name = 'main' AND NOT internal
        ORDER BY table_oid, column_index"""
    with duckdb.connect(":memory:") as current:
        current.execute(read_sql("store/schema"))
        wanted: dict[str, dict[str, str]] = {}
        for table, column, kind in current.execute(columns).fetchall():
            wanted.setdefault(table, {})[column] = kind
    there = {(table, column) for table, column, _ in connection.execute(columns).fetchall()}
    for table, kinds in wanted.items():
        lacking = {name for name in kinds if (table, name) not in there}
        if not lacking:
            continue
        select = ", ".join(
            f"CAST(NULL AS {kind}) AS {quote_identifier(name)}"
            if name in lacking
            else quote_identifier(name)
            for name, kind in kinds.items()
        )
        source = (
            f"FROM {STORE_CATALOG}.main.{table}" if len(lacking) < len(kinds) else "WHERE false"
        )
        connection.execute(f"CREATE TEMP VIEW {table} AS SELECT {select} {source}")
