"""Run the packaged queries over the store and over what was published."""

from collections.abc import Collection, Sequence
from pathlib import Path

import duckdb
import polars as pl

from .config import DATE_COLUMNS, TEXT_COLUMNS, StoreConfig
from .duckdb_files import attached, tables_of
from .errors import BadDataError, MissingInputError, UsageError
from .publishing import RESULT_SCHEMA
from .sql_text import Query, load_query, quote_identifier, quote_literal
from .store import Store, first_line
from .suffixes import suffix_of

PARAMETERS_OF_VIEW = ("date_column", "text_column")
_OWN_COLUMNS = {*RESULT_SCHEMA.names, "news_time", "news_text"}


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
    extra = PARAMETERS_OF_VIEW if query.reads_published else ()
    view = dict(p for p in parameters if p[0] in extra)
    own = [p for p in parameters if p[0] not in extra]
    if published is not None and not query.reads_published:
        raise UsageError(f"query {name} reads the store, not published rows: leave out --from")
    if published is not None:
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
        _create_view(connection, query, targets, view)
    _shut_in(connection, [path for path, _ in targets])
    try:
        frame: pl.DataFrame = connection.sql(query.text).pl()
    except duckdb.BinderException as error:
        if not parameters:
            raise
        given = ", ".join(f"{name}={value}" for name, value in parameters)
        raise UsageError(f"query {query.name} with {given}: {first_line(error)}") from None
    except duckdb.Error as error:
        if not targets:
            raise
        raise BadDataError(f"published rows cannot be read: {first_line(error)}") from None
    return frame


def _shut_in(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """Let SQL reach nothing but what is attached and the files it is about."""
    allowed = ", ".join(quote_literal(path) for path in paths)
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")


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
            connection.execute(
                f"SET VARIABLE {quote_identifier(name)} = CAST({quote_literal(value)} AS {kind})"
            )
        except duckdb.Error:
            raise UsageError(
                f"--param {name}={value}: not a {kind} ({declared[name].description})"
            ) from None


def view_published(
    connection: duckdb.DuckDBPyConnection,
    targets: Sequence[tuple[str, str | None]],
    view: dict[str, str],
) -> None:
    """Make `scored_headlines` of the named outputs, each a file and, in DuckDB, its table.

    `news_time` is NULL where there is no time in the date column.

    Raises:
        BadDataError: an output cannot be read.
        UsageError: `view` names a column that an output lacks.
    """
    query = Query(name="", summary="", text="", parameters=())
    _create_view(connection, query, targets, view)


def _create_view(
    connection: duckdb.DuckDBPyConnection,
    query: Query,
    targets: Sequence[tuple[str, str | None]],
    view: dict[str, str],
) -> None:
    """Make `scored_headlines`: all targets, with `news_time` and `news_text` added."""
    relations = [(path, _relation(connection, path, table)) for path, table in targets]
    columns = [_columns(connection, path, relation) for path, relation in relations]
    kinds: dict[str, set[str]] = {}
    for found in columns:
        for name, kind in found.items():
            kinds.setdefault(name, set()).add(kind)
    # A list in one file and a number in another have no type in common but text.
    mixed = {name for name, found_kinds in kinds.items() if len(found_kinds) > 1}
    selects = []
    for (path, relation), found in zip(relations, columns, strict=True):
        date = _pick(found, view.get("date_column"), DATE_COLUMNS, "date_column", path)
        text = _pick(found, view.get("text_column"), TEXT_COLUMNS, "text_column", path)
        time = f"CAST(TRY_CAST({date} AS TIMESTAMPTZ) AS TIMESTAMP)"
        if "news_time" in query.text:
            _check_times(connection, relation, date, time, path)
        kept = [n for n in found if n.casefold() not in _OWN_COLUMNS]
        parts = [_as_text(n) if n in mixed else quote_identifier(n) for n in kept]
        parts += [_typed(field) for field in RESULT_SCHEMA.names]
        parts += [f"{time} AS news_time", f"CAST({text} AS VARCHAR) AS news_text"]
        selects.append(f"SELECT {', '.join(parts)} FROM {relation}")
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW scored_headlines AS " + " UNION ALL BY NAME ".join(selects)
    )


def _columns(connection: duckdb.DuckDBPyConnection, path: str, relation: str) -> dict[str, str]:
    """Return the columns of a published table, name to type, all result columns among them."""
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    except duckdb.Error as error:
        raise BadDataError(f"{path} cannot be read: {first_line(error)}") from None
    columns = {row[0]: row[1] for row in described}
    lacking = [c for c in RESULT_SCHEMA.names if c not in columns]
    if lacking:
        raise BadDataError(f"{path} has no column {lacking[0]!r}: is it an output of score?")
    return columns


def _check_times(
    connection: duckdb.DuckDBPyConnection, relation: str, date: str, time: str, path: str
) -> None:
    """Refuse a date column of which not one value is a time: a query would find nothing."""
    sql = f"SELECT count({date}), count({time}) FROM {relation}"
    [(values, times)] = connection.execute(sql).fetchall()
    if values and not times:
        raise BadDataError(
            f"column {date} of {path} holds no times such as 2014-01-06 09:30: "
            "name another with --param date_column=…"
        )


def _as_text(column: str) -> str:
    name = quote_identifier(column)
    return f"CAST({name} AS VARCHAR) AS {name}"


def _typed(column: str) -> str:
    """Give a result column its type back, which CSV does not keep."""
    kinds = {"sentiment_score": "FLOAT", "scored_at": "TIMESTAMP"}
    kind = "FLOAT" if column.startswith("p_") else kinds.get(column, "VARCHAR")
    return f"CAST({column} AS {kind}) AS {column}"


def _relation(connection: duckdb.DuckDBPyConnection, path: str, table: str | None) -> str:
    kind = suffix_of(Path(path))
    if kind == ".duckdb":
        names = _tables(connection, path)
        if table is None:
            raise UsageError(
                f"{path}: name one of its tables, as {path}::TABLE; it has: {', '.join(names)}"
            )
        if table not in names:
            raise MissingInputError(f"{path} has no table {table!r}; it has: {', '.join(names)}")
        catalog = "news_" + str(len(connection.execute("FROM duckdb_databases()").fetchall()))
        known = dict(
            connection.execute("SELECT path, database_name FROM duckdb_databases()").fetchall()
        )
        if path not in known:
            connection.execute(f"ATTACH {quote_literal(path)} AS {catalog} (READ_ONLY)")
        return f"{known.get(path, catalog)}.main.{quote_identifier(table)}"
    if kind in (".csv", ".csv.gz"):
        return f"read_csv({quote_literal(path)}, header = true, all_varchar = true)"
    return f"read_parquet({quote_literal(path)})"


def _tables(connection: duckdb.DuckDBPyConnection, path: str) -> list[str]:
    with attached(connection, Path(path)) as (cursor, catalog):
        return list(tables_of(cursor, catalog))


def _pick(
    names: Collection[str], wanted: str | None, usual: Sequence[str], parameter: str, path: str
) -> str:
    name = wanted or next((c for c in usual if c in names), None)
    if name is None:
        return "NULL"
    if name not in names:
        raise UsageError(
            f"--param {parameter}={name}: {path} has no such column; it has: {', '.join(names)}"
        )
    return quote_identifier(name)
