"""What was published: where it lies, and how SQL reads it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from .duckdb_files import attached, tables_of
from .errors import BadDataError, MissingInputError, UsageError
from .sql_text import quote_identifier, quote_literal
from .store import Store, first_line


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A file of labelled rows or, in a DuckDB file, a table."""

    path: str
    table: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file or table that is there, with what SQL must know to read it."""

    kind: Literal["parquet", "csv", "duckdb"]
    source: str
    """The file's path, or the qualified name of a DuckDB table."""
    columns: tuple[tuple[str, str], ...]
    """Names and SQL types."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(name for name, _ in self.columns)


def latest_publications(store: Store) -> list[Publication]:
    """Return one output for each input ever scored: the latest that still exists."""
    rows = store.query("""
        SELECT input, input_table, output, output_table FROM run_files
        ORDER BY published_at DESC""")
    tables: dict[str, Collection[str]] = {}
    latest: dict[tuple[str, str | None], Publication] = {}
    for path, table, output, output_table in rows:
        there = Path(output).exists()
        if there and output_table is not None:
            if output not in tables:
                tables[output] = _tables(store.connection, output)
            there = output_table in tables[output]
        if there:
            latest.setdefault((path, table), Publication(path=output, table=output_table))
    return sorted(set(latest.values()), key=str)


def named(published: str) -> Publication:
    """Return what a user names as FILE or FILE.duckdb::TABLE.

    Raises:
        MissingInputError: no such file.
    """
    path, _, table = published.partition("::")
    if not Path(path).exists():
        raise MissingInputError(f"{path} does not exist: check --from")
    return Publication(path=path, table=table or None)


def shut_in(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """Let SQL reach nothing but what is attached and these files, whatever their views say."""
    known = {name for path in paths for name in (path, str(Path(path).resolve()))}
    # Beside a database DuckDB may read its write-ahead log.
    logs = {f"{path}.wal" for path in known if path.endswith(".duckdb")}
    allowed = known | logs | {literal_path(path) for path in known}
    listed = ", ".join(quote_literal(path) for path in sorted(allowed))
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")


def describe(connection: duckdb.DuckDBPyConnection, publication: Publication) -> Table:
    """Look at a published file or table.

    Raises:
        BadDataError: it cannot be read.
        MissingInputError: the DuckDB file has no such table.
        UsageError: a DuckDB file without a table named.
    """
    path, table = publication.path, publication.table
    kind: Literal["parquet", "csv", "duckdb"] = "parquet"
    source = path
    if path.endswith(".duckdb"):
        kind, source = "duckdb", _attached_table(connection, path, table)
    elif path.endswith((".csv", ".csv.gz")):
        kind = "csv"
    relation = relation_sql(kind, [source])
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    except duckdb.Error as error:
        raise BadDataError(f"{path} cannot be read: {first_line(error)}") from None
    return Table(kind=kind, source=source, columns=tuple((row[0], row[1]) for row in described))


def relation_sql(kind: str, sources: Sequence[str]) -> str:
    """Return what to select from: files of one kind together, or one DuckDB table.

    A file that is gone gives no rows; when all are, the relation has no columns of theirs.
    """
    if kind == "duckdb":
        return sources[0]
    files = ", ".join(quote_literal(literal_path(source)) for source in sources)
    if kind == "csv":
        return f"read_csv([{files}], header = true, all_varchar = true, allow_empty = true)"
    return f"read_parquet([{files}], allow_empty = true)"


def literal_path(path: str) -> str:
    """Return a path as DuckDB's file functions take it for itself, not for a pattern."""
    return "".join(f"[{c}]" if c in "[*?" else c for c in path)


def _attached_table(connection: duckdb.DuckDBPyConnection, path: str, table: str | None) -> str:
    """Attach a DuckDB file for as long as the connection lives; return the table's name in SQL."""
    names = _tables(connection, path)
    if table is None:
        raise UsageError(
            f"{path}: name one of its tables, as {path}::TABLE; it has: {', '.join(names)}"
        )
    if table not in names:
        raise MissingInputError(f"{path} has no table {table!r}; it has: {', '.join(names)}")
    rows = connection.execute("SELECT path, database_name FROM duckdb_databases()").fetchall()
    known: dict[str | None, str] = dict(rows)
    if path not in known:
        known[path] = f"news_{len(rows)}"
        connection.execute(f"ATTACH {quote_literal(path)} AS {known[path]} (READ_ONLY)")
    return f"{known[path]}.main.{quote_identifier(table)}"


def _tables(connection: duckdb.DuckDBPyConnection, path: str) -> list[str]:
    with attached(connection, Path(path)) as (cursor, catalog):
        return list(tables_of(cursor, catalog))
