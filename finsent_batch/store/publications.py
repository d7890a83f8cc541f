"""What was published: where it lies, and how SQL reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from ..errors import BadDataError, MissingInputError, UsageError, first_line
from ..io.duckdb_append import INPUT_COLUMN, AppendingSink, input_name
from ..io.duckdb_files import attached, tables_of
from ..io.paths import suffix_of
from ..io.sql import quote_identifier, quote_literal
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A file of labelled rows or, in a DuckDB file, a table."""

    path: str
    table: str | None = None
    inputs: tuple[str, ...] | None = None
    """The inputs whose rows are meant, of a table that inputs share; None for all rows."""


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
    """Return one output for each input ever scored: the latest that still exists.

    A run with --limit, a trial, does not take the place of a whole one.
    """
    rows = store.query("""
        SELECT f.input, input_table, f.output, output_table
        FROM run_files AS f LEFT JOIN runs USING (run_id)
        ORDER BY options->>'limit' IS NOT NULL, published_at DESC""")
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


def named(published: str) -> Publication:
    """Return what a user names as FILE or FILE.duckdb::TABLE.

    Raises:
        MissingInputError: no such file.
        UsageError: a folder.
    """
    path, _, table = published.partition("::")
    if not Path(path).exists():
        raise MissingInputError(f"{path} does not exist: check --from")
    if Path(path).is_dir():
        raise UsageError(f"--from {path} is a folder: name one scored file in it")
    return Publication(path=path, table=table or None)


def shut_in(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """Let SQL reach nothing but what is attached and these files, whatever their views say."""
    known = {name for path in paths for name in (path, str(Path(path).resolve()))}
    # Beside a database DuckDB may read its write-ahead log.
    logs = {f"{path}.wal" for path in known if suffix_of(Path(path)) == ".duckdb"}
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
    path = publication.path
    kind: Literal["parquet", "csv", "duckdb"] = "parquet"
    source = path
    suffix = suffix_of(Path(path))
    if suffix == ".duckdb":
        kind, source = "duckdb", _attached_table(connection, publication)
    elif suffix in (".csv", ".csv.gz"):
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
