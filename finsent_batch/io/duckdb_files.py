"""DuckDB files of users: attached for the length of a block, with what can be wrong said."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ..errors import (
    BadDataError,
    MissingInputError,
    first_line,
)
from .atomic import private_folder
from .duckdb_errors import cannot_attach, is_storage_failure
from .sql import database_literal, own_name, quote_identifier, quote_literal

_ATTACHED = "attached_"
_COPY = "finsent_copy"
MAIN = "main"


@dataclass(frozen=True, kw_only=True)
class TableEntry:
    """A table or view of a DuckDB file."""

    schema: str
    name: str
    kind: str
    """`BASE TABLE` or `VIEW`."""

    def sql(self, catalog: str) -> str:
        """Return its name in an attached file, quoted."""
        return f"{catalog}.{quote_identifier(self.schema)}.{quote_identifier(self.name)}"


def tables_of(cursor: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, TableEntry]:
    """Return the tables and views of an attached file by the names that users give.

    Those of another schema than main are called `schema.table`; where main has a table
    of just that name, it counts.
    """
    rows = cursor.execute(
        """SELECT table_schema, table_name, table_type FROM information_schema.tables
        WHERE table_catalog = ? ORDER BY table_schema <> 'main', 1, 2""",
        [catalog],
    ).fetchall()
    found: dict[str, TableEntry] = {}
    for schema, name, kind in rows:
        called = name if schema == MAIN else f"{schema}.{name}"
        found.setdefault(called, TableEntry(schema=schema, name=name, kind=kind))
    return found


def own_table(found: Collection[str], table: str, file: object) -> str:
    """Return what a table is called in a file that has the tables `found`.

    Raises:
        MissingInputError: the file has none of that name.
    """
    called = own_name(found, table)
    if called is None:
        raise MissingInputError(
            f"{file} has no table {table!r}; it has: {', '.join(found) or 'none'}"
        )
    return called


def place_of(cursor: duckdb.DuckDBPyConnection, catalog: str, table: str) -> TableEntry:
    """Return the table of that name, or where it will be: `schema.table` if there is the schema."""
    found = tables_of(cursor, catalog)
    called = own_name(found, table)
    if called is not None:
        return found[called]
    schema, dot, name = table.partition(".")
    known = cursor.execute(
        "SELECT lower(schema_name) FROM duckdb_schemas() WHERE database_name = ? AND NOT internal",
        [catalog],
    ).fetchall()
    if dot and name and (schema.casefold(),) in known:
        return TableEntry(schema=schema, name=name, kind="BASE TABLE")
    return TableEntry(schema=MAIN, name=table, kind="BASE TABLE")


def table_names(file: Path) -> str:
    """Return the names of a DuckDB file's tables and views as one line for a message."""
    with duckdb.connect(":memory:") as connection, attached(connection, file) as (cursor, catalog):
        return ", ".join(tables_of(cursor, catalog)) or "none"


def copy_view(
    connection: duckdb.DuckDBPyConnection, file: Path, view: TableEntry, *, limit: int | None
) -> Path:
    """Copy a view's rows as a table of that name into a file of its own, and return the file.

    Run twice, a view need not give its rows in the same order. It runs in a DuckDB
    that can open its own file and nothing else: a view says which files it reads,
    and who made it need not be who runs it. Its file is attached by the name that DuckDB
    itself gives it, as views may say it. `connection` lends its scratch folder.

    Raises:
        BadDataError: the view cannot be run, or not so.
    """
    settings = "SELECT current_setting('temp_directory'), current_setting('memory_limit')"
    [(folder, memory)] = connection.execute(settings).fetchall()
    work = Path(folder).resolve()
    private_folder(work)
    copy = work / f"view_{len(list(work.iterdir()))}.duckdb"
    own = quote_identifier(file.stem)
    if file.stem.casefold() in ("memory", "system", "temp", _COPY):
        own = "source"
    with duckdb.connect(":memory:") as closed:
        closed.execute(f"SET memory_limit = {quote_literal(memory)}")
        closed.execute(f"SET temp_directory = {quote_literal(str(work))}")
        closed.execute("SET TimeZone = 'UTC'")
        closed.execute(
            f"ATTACH {database_literal(file.resolve())} AS {own} (TYPE duckdb, READ_ONLY)"
        )
        closed.execute(f"ATTACH {database_literal(copy)} AS {_COPY} (TYPE duckdb)")
        closed.execute(f"SET allowed_directories = [{quote_literal(str(work))}]")
        closed.execute("SET enable_external_access = false")
        closed.execute(f"USE {own}")
        rows = f"FROM {view.sql(own)}" + ("" if limit is None else f" LIMIT {limit}")
        try:
            schema = quote_identifier(view.schema)
            closed.execute(f"CREATE SCHEMA IF NOT EXISTS {_COPY}.{schema}")
            closed.execute(f"CREATE TABLE {view.sql(_COPY)} AS {rows}")
        except duckdb.PermissionException:
            raise BadDataError(
                f"the view {view.name!r} of {file} reads other files, which is not allowed: "
                "make a table of it, or name those files as INPUT"
            ) from None
        except duckdb.Error as error:
            if is_storage_failure(error):
                raise
            raise BadDataError(
                f"the view {view.name!r} of {file} cannot be run ({first_line(error)}): correct "
                "it, or make a table of it"
            ) from None
    return copy


class attached:
    """Attach a DuckDB file for the length of a block; gives a cursor and the catalog's name.

    Blocks may nest, as when a table is read while another of the same file is
    written: the inner one borrows what the outer one attached.

    Raises:
        MissingInputError: no such file (unless `create`).
        TryAgainError: another process holds the file.
        BadDataError: not a DuckDB file.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        file: Path,
        *,
        write: bool = False,
        create: bool = False,
    ) -> None:
        self._cursor = connection.cursor()
        self._file = file
        self._write = write
        self._create = create
        self._catalog = ""
        self._borrowed = False

    def __enter__(self) -> tuple[duckdb.DuckDBPyConnection, str]:
        if not self._create and not self._file.exists():
            raise MissingInputError(f"{self._file} does not exist: check the path")
        path = str(self._file.resolve())
        literal = database_literal(self._file.resolve())
        known = "SELECT database_name, path FROM duckdb_databases()"
        used: dict[str, str | None] = dict(self._cursor.execute(known).fetchall())
        names = [f"{_ATTACHED}{i}" for i in range(len(used) + 1)]
        self._catalog = next((n for n in names if used.get(n) == path), "")
        self._borrowed = bool(self._catalog)
        if not self._borrowed:
            self._catalog = next(n for n in names if n not in used)
            mode = "TYPE duckdb" if self._write else "TYPE duckdb, READ_ONLY"
            try:
                self._cursor.execute(f"ATTACH {literal} AS {self._catalog} ({mode})")
            except duckdb.Error as error:
                raise cannot_attach(self._file, error) from None
        return self._cursor, self._catalog

    def __exit__(self, *_: object) -> None:
        if not self._borrowed:
            self._cursor.execute(f"DETACH {self._catalog}")
        self._cursor.close()
