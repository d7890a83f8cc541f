"""Run the packaged queries over the store and over what was published."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from .config import DATE_COLUMNS, TEXT_COLUMNS, StoreConfig
from .errors import BadDataError, MissingInputError, UsageError
from .publishing import RESULT_SCHEMA
from .sources import attached, tables_of
from .sql import Query, load_query, quote_identifier, quote_literal
from .store import Store, first_line

PARAMETERS_OF_VIEW = ("date_column", "text_column")


def run_query(
    name: str,
    store: StoreConfig,
    *,
    parameters: Sequence[tuple[str, str]] = (),
    published: str | None = None,
) -> pl.DataFrame:
    """Run one of `sql/`'s queries and return its rows.

    `published` names a scored Parquet, CSV or DuckDB file (`file.duckdb::table`)
    for queries that read `scored_headlines`; without it they read the latest
    publication of each input that the store knows of.

    Raises:
        UsageError: unknown query or parameter, or a value of the wrong type.
        MissingInputError: nothing was published, or the files are gone.
    """
    query = load_query(name)
    view = dict(p for p in parameters if p[0] in PARAMETERS_OF_VIEW)
    own = [p for p in parameters if p[0] not in PARAMETERS_OF_VIEW]
    if published is not None and query.reads_published:
        with duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return _run(connection, query, own, [_named(published)], view)
    with Store.open(store, read_only=True) as opened:
        targets = _latest_publications(opened) if query.reads_published else []
        return _run(opened.connection, query, own, targets, view)


def _named(published: str) -> tuple[str, str | None]:
    path, _, table = published.partition("::")
    if not Path(path).exists():
        raise MissingInputError(f"{path} does not exist: check --from")
    return path, table or None


def _latest_publications(store: Store) -> list[tuple[str, str | None]]:
    """Return one output for each input ever scored: the latest that still exists."""
    rows = store.query("""
        SELECT input, input_table, output, output_table FROM run_files
        ORDER BY published_at DESC""")
    latest: dict[tuple[str, str | None], tuple[str, str | None]] = {}
    for path, table, output, output_table in rows:
        if Path(output).exists():
            latest.setdefault((path, table), (output, output_table))
    if not latest:
        raise MissingInputError(
            f"the store {store.path} knows of no published rows"
            + (" that still exist" if rows else "")
            + ": run finsent-batch score, or name a scored file with --from"
        )
    return sorted(set(latest.values()), key=str)


def _run(
    connection: duckdb.DuckDBPyConnection,
    query: Query,
    parameters: Sequence[tuple[str, str]],
    targets: Sequence[tuple[str, str | None]],
    view: dict[str, str],
) -> pl.DataFrame:
    _set_parameters(connection, query, parameters)
    if query.reads_published:
        _create_view(connection, targets, view)
    return connection.execute(query.text).pl()


def _set_parameters(
    connection: duckdb.DuckDBPyConnection, query: Query, parameters: Sequence[tuple[str, str]]
) -> None:
    declared = {p.name: p for p in query.parameters}
    for name, value in parameters:
        if name not in declared:
            known = ", ".join(declared) or "none"
            extra = f" and {', '.join(PARAMETERS_OF_VIEW)}" if query.reads_published else ""
            raise UsageError(
                f"query {query.name} has no parameter {name!r}; it has: {known}{extra}"
            )
        kind = declared[name].type
        try:
            connection.execute(f"SET VARIABLE {name} = CAST({quote_literal(value)} AS {kind})")
        except duckdb.ConversionException:
            raise UsageError(
                f"--param {name}={value}: not a {kind} ({declared[name].description})"
            ) from None


def _create_view(
    connection: duckdb.DuckDBPyConnection,
    targets: Sequence[tuple[str, str | None]],
    view: dict[str, str],
) -> None:
    """Make `scored_headlines`: all targets, with `news_time` and `news_text` added."""
    selects = []
    for path, table in targets:
        relation = _relation(connection, path, table)
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        except duckdb.Error as error:
            raise BadDataError(f"{path} cannot be read: {first_line(error)}") from None
        names = [row[0] for row in described]
        lacking = [c for c in RESULT_SCHEMA.names if c not in names]
        if lacking:
            raise BadDataError(f"{path} has no column {lacking[0]!r}: is it an output of score?")
        date = _pick(names, view.get("date_column"), DATE_COLUMNS, "date_column", path)
        text = _pick(names, view.get("text_column"), TEXT_COLUMNS, "text_column", path)
        selects.append(
            f"SELECT * EXCLUDE ({', '.join(RESULT_SCHEMA.names)}), "
            + ", ".join(_typed(field) for field in RESULT_SCHEMA.names)
            + f", TRY_CAST({date} AS TIMESTAMP) AS news_time, CAST({text} AS VARCHAR) AS news_text "
            f"FROM {relation}"
        )
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW scored_headlines AS " + " UNION ALL BY NAME ".join(selects)
    )


def _typed(column: str) -> str:
    """Give a result column its type back, which CSV does not keep."""
    kinds = {"sentiment_score": "FLOAT", "scored_at": "TIMESTAMP"}
    kind = "FLOAT" if column.startswith("p_") else kinds.get(column, "VARCHAR")
    return f"CAST({column} AS {kind}) AS {column}"


def _relation(connection: duckdb.DuckDBPyConnection, path: str, table: str | None) -> str:
    if path.endswith(".duckdb"):
        with attached(connection, Path(path)) as (cursor, catalog):
            names = list(tables_of(cursor, catalog))
        if table is None or table not in names:
            raise MissingInputError(
                f"{path}: name one of its tables, as {path}::TABLE; it has: {', '.join(names)}"
            )
        catalog = "news_" + str(len(connection.execute("FROM duckdb_databases()").fetchall()))
        known = dict(
            connection.execute("SELECT path, database_name FROM duckdb_databases()").fetchall()
        )
        if path not in known:
            connection.execute(f"ATTACH {quote_literal(path)} AS {catalog} (READ_ONLY)")
        return f"{known.get(path, catalog)}.main.{quote_identifier(table)}"
    if path.endswith((".csv", ".csv.gz")):
        return f"read_csv({quote_literal(path)}, header = true, all_varchar = true)"
    return f"read_parquet({quote_literal(path)})"


def _pick(
    names: list[str], wanted: str | None, usual: Sequence[str], parameter: str, path: str
) -> str:
    name = wanted or next((c for c in usual if c in names), None)
    if name is None and wanted is None:
        return "NULL"
    if name not in names:
        raise UsageError(
            f"--param {parameter}={name}: {path} has no such column; it has: {', '.join(names)}"
        )
    return quote_identifier(name)
