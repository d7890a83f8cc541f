"""What was published: where it lies, and how SQL reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from .duckdb_append import INPUT_COLUMN, AppendingSink, input_name
from .duckdb_files import attached, tables_of
from .errors import MissingInputError, UsageError
from .sql_text import quote_identifier, quote_literal
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A table of labelled rows."""

    path: str
    table: str | None = None
    inputs: tuple[str, ...] | None = None
    """The inputs whose rows are meant, of a table that inputs share; None for all rows."""


def named(published: str) -> Publication:
    """Return what a user names as FILE or FILE.duckdb::TABLE."""
    path, _, table = published.partition("::")
    if not Path(path).exists():
        raise MissingInputError(f"{path} does not exist: check --from")
    return Publication(path=path, table=table or None)


def latest_publications(store: Store) -> list[Publication]:
    """Return one publication for each input ever scored: the latest that still exists.

    Raises:
        MissingInputError: there is none.
    """
    rows = store.query("""
        SELECT input, input_table, output, output_table FROM run_files
        ORDER BY published_at DESC""")
    tables: dict[str, list[str]] = {}
    latest: dict[tuple[str, str | None], tuple[str, str | None]] = {}
    for path, table, output, output_table in rows:
        there = Path(output).exists()
        if there and output_table is not None:
            if output not in tables:
                tables[output] = _tables(store.connection, output)
            there = output_table in tables[output]
        if there:
            latest.setdefault((path, table), (output, output_table))
    if not latest:
        raise MissingInputError(
            f"the store {store.path} knows of no published rows"
            + (" that still exist" if rows else "")
            + ": run finsent-batch score, or name a scored file with --from"
        )
    inputs: dict[tuple[str, str | None], list[str]] = {}
    for (path, table), target in latest.items():
        inputs.setdefault(target, []).append(input_name(path, table))
    return [
        Publication(
            path=path,
            table=table,
            inputs=tuple(found) if _is_shared(store.connection, path, table) else None,
        )
        for (path, table), found in sorted(inputs.items(), key=str)
    ]


def publications_of(store: Store, run_id: str) -> tuple[list[str], list[Publication]]:
    """Return the names of all that a run published, and what of it still is what it published.

    What a later run replaced is left out: a whole output, or an input's rows in a
    table that inputs share.
    """
    rows = store.query(
        """SELECT output, output_table, list({'path': input, 'table': input_table, 'own': latest}),
            bool_or(last_writer = $1)
        FROM (SELECT *,
                arg_max(run_id, published_at) OVER (PARTITION BY output, output_table, input,
                    input_table) = $1 AS latest,
                arg_max(run_id, published_at) OVER (PARTITION BY output, output_table)
                    AS last_writer
            FROM run_files)
        WHERE run_id = $1 GROUP BY ALL ORDER BY ALL""",
        [run_id],
    )
    names, found = [], []
    for path, table, inputs, latest in rows:
        names.append(input_name(path, table))
        if not Path(path).exists():
            continue
        if _is_shared(store.connection, path, table):
            own = tuple(input_name(i["path"], i["table"]) for i in inputs if i["own"])
            found += [Publication(path=path, table=table, inputs=own)] if own else []
        elif latest:
            found.append(Publication(path=path, table=table))
    return names, found


def _is_shared(connection: duckdb.DuckDBPyConnection, path: str, table: str | None) -> bool:
    mark = AppendingSink(connection, Path(path), table).mark() if table else None
    return bool(mark and mark.get("append"))


def shut_in(connection: duckdb.DuckDBPyConnection, publications: Sequence[Publication]) -> None:
    """Let SQL reach nothing but what is attached and these files, whatever their views say."""
    paths = {path for p in publications for path in (p.path, str(Path(p.path).resolve()))}
    # Beside a database DuckDB may read its write-ahead log.
    logs = {f"{path}.wal" for path in paths if path.endswith(".duckdb")}
    allowed = ", ".join(quote_literal(path) for path in sorted(paths | logs))
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")


def relation(connection: duckdb.DuckDBPyConnection, publication: Publication) -> str:
    """Return the SQL that reads a publication, its file attached where it is a database.

    Raises:
        UsageError: a database, and no table of it is named.
        MissingInputError: it has no such table.
    """
    path = publication.path
    if path.endswith(".duckdb"):
        return _attached_table(connection, publication)
    if path.endswith((".csv", ".csv.gz")):
        return f"read_csv({quote_literal(path)}, header = true, all_varchar = true)"
    return f"read_parquet({quote_literal(path)})"


def _attached_table(connection: duckdb.DuckDBPyConnection, publication: Publication) -> str:
    path, table = publication.path, publication.table
    found = _tables(connection, path)
    if table is None:
        raise UsageError(
            f"{path}: name one of its tables, as {path}::TABLE; it has: {', '.join(found)}"
        )
    if table not in found:
        raise MissingInputError(f"{path} has no table {table!r}; it has: {', '.join(found)}")
    known = dict(
        connection.execute("SELECT path, database_name FROM duckdb_databases()").fetchall()
    )
    if path not in known:
        known[path] = f"news_{len(known)}"
        connection.execute(f"ATTACH {quote_literal(path)} AS {known[path]} (READ_ONLY)")
    sql = f"{known[path]}.main.{quote_identifier(table)}"
    if publication.inputs is None:
        return sql
    inputs = ", ".join(map(quote_literal, publication.inputs))
    return f"(SELECT * FROM {sql} WHERE {INPUT_COLUMN} IN ({inputs}))"


def _tables(connection: duckdb.DuckDBPyConnection, path: str) -> list[str]:
    with attached(connection, Path(path)) as (cursor, catalog):
        return list(tables_of(cursor, catalog))
