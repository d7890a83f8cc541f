"""Run SQL over the store and over what was published: the packaged queries, or one's own."""

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from ..config import StoreConfig
from ..errors import BadDataError, ParameterError, UsageError, first_line
from ..io.duckdb_errors import Kind, classify
from ..io.sql import quote_identifier, quote_literal
from ..io.whole.protected import check_free, protected
from ..store.publications import divided
from .catalog import Query, load_query, nearest
from .session import VIEW_PARAMETERS, QuerySession, query_session

_KINDS = {
    "INTEGER": f"a whole number from 0 to {2**31 - 1}",
    "DOUBLE": "a number",
    "DATE": "a date such as 2014-01-31",
}
"""How a type in a query's header is said."""


def run_query(
    name: str,
    store: StoreConfig,
    *,
    parameters: Sequence[tuple[str, str]] = (),
    published: str | None = None,
) -> pl.DataFrame:
    """Run one of `sql/`'s queries and return its rows.

    `published` names a scored Parquet, CSV or DuckDB file (`file.duckdb::table`)
    for queries that read `scored_headlines` or `evaluated_headlines`; without it
    they read the latest publication of each input, or all predictions, that the
    store knows of.

    Raises:
        UsageError: unknown query.
        ParameterError: a parameter is missing, unknown, of the wrong type, or names no column.
        MissingInputError: nothing was published or evaluated, or the files are gone.
        TryAgainError: a job is writing to the store.
    """
    return to_polars(run_query_arrow(name, store, parameters=parameters, published=published))


def run_query_arrow(
    name: str,
    store: StoreConfig,
    *,
    parameters: Sequence[tuple[str, str]] = (),
    published: str | None = None,
) -> pa.Table:
    """Run one of `sql/`'s queries as `run_query` does and return an Arrow table."""
    query = load_query(name)
    view = next((v for v in VIEW_PARAMETERS if query.reads(v)), None)
    about = VIEW_PARAMETERS.get(view or "", ())
    columns = dict(p for p in parameters if p[0] in about)
    own = [p for p in parameters if p[0] not in about]
    if published is not None and view is None:
        raise UsageError(f"query {name} reads the store, not published rows: leave out --from")
    times = query.reads("news_time")
    with query_session(store, published, view, columns, needs_times=times) as session:
        connection = session.connection
        _set_parameters(connection, query, own, about)
        _check_columns(connection, query, own)
        try:
            return _fetch_readable(session, query.text)
        except duckdb.Error as error:
            if view is None:
                raise
            raise BadDataError(f"published rows cannot be read: {first_line(error)}") from None


def run_sql(statement: str, store: StoreConfig, *, published: str | None = None) -> pa.Table:
    """Run one SELECT of the user's own and return an Arrow table.

    It sees the store's tables and views, or with `published` only
    `scored_headlines` over that file; it can write nowhere and read no other file.

    Raises:
        UsageError: more than one statement, one that does not only read, or bad SQL.
        MissingInputError, TryAgainError: as `run_query`.
    """
    check_reads_only(statement)
    view = "scored_headlines" if published is not None else None
    for name in ("scored_headlines", "daily_sentiment", "evaluated_headlines"):
        if re.search(rf"\b{name}\b", statement, re.IGNORECASE):
            view = "evaluated_headlines" if name.startswith("eval") else "scored_headlines"
            break
    times = re.search(r"\b(news_time|daily_sentiment)\b", statement, re.IGNORECASE) is not None
    with query_session(store, published, view, {}, needs_times=times, may_be_empty=True) as session:
        try:
            return _fetch_readable(session, statement)
        except duckdb.Error as error:
            raise UsageError(_refused(error)) from None


def _refused(error: duckdb.Error) -> str:
    """Return what was wrong with a statement, in one line."""
    match classify(error):
        case Kind.OUT_OF_REACH:
            return (
                "--sql reaches the store and what was published, no other file: name a scored "
                "file with --from"
            )
        case Kind.OUT_OF_MEMORY:
            return f"--sql: {first_line(error)}: raise --memory-limit, or ask for less"
        case Kind.READ_ONLY:
            return _READS_ONLY.format("a write in a SELECT")
        case _:
            return f"--sql: {' '.join(str(error).split())[:300]}"


_READS_ONLY = "--sql only reads, and {} would not: write one SELECT, or use your own database"


def check_query_output(output: Path, store: StoreConfig, published: str | None) -> None:
    """Check that a query's result replaces neither the store nor what runs read or wrote.

    Raises:
        UsageError: it would.
    """
    check_free(output, protected(store=store.path))
    if published is not None:
        known = [divided(published)[0]]
    elif store.path.exists():
        with query_session(store, None, None, {}) as session:
            rows = session.connection.execute("SELECT input, output FROM run_files").fetchall()
        known = [name for row in rows for name in row]
    else:
        known = []
    check_free(output, dict.fromkeys(map(Path, known), "a run's input or output"))


def check_reads_only(statement: str) -> None:
    """Refuse what is not one reading statement.

    Raises:
        UsageError: saying what it is instead.
    """
    try:
        found = duckdb.extract_statements(statement)
    except duckdb.Error as error:
        raise UsageError(f"--sql: {' '.join(str(error).split())[:300]}") from None
    if len(found) != 1:
        raise UsageError(f"--sql takes one statement, not {len(found)}")
    kind = found[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise UsageError(_READS_ONLY.format(kind.name.replace("_", " ")))


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Return an Arrow table as a polars frame."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _fetch_readable(session: QuerySession, sql: str) -> pa.Table:
    """Run SQL; if a published table turns out to be damaged, over the others."""
    try:
        return _fetch(session.connection, sql)
    except (duckdb.PermissionException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error:
        if not session.leave_out_unreadable():
            raise
        return _fetch(session.connection, sql)


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """Run SQL; what Arrow or polars have no type for comes as text or decimal."""
    connection.execute("SET GLOBAL arrow_lossless_conversion = false")
    relation = connection.sql(sql)
    columns = [
        f"CAST({name} AS VARCHAR) AS {name}" if str(kind) == "INTERVAL" else name
        for name, kind in zip(map(quote_identifier, relation.columns), relation.types, strict=True)
    ]
    if "INTERVAL" in map(str, relation.types):
        relation = relation.project(", ".join(columns))
    return relation.to_arrow_table()


def _set_parameters(
    connection: duckdb.DuckDBPyConnection,
    query: Query,
    parameters: Sequence[tuple[str, str]],
    about_view: Sequence[str],
) -> None:
    declared = {p.name: p for p in query.parameters}
    for name, value in parameters:
        if name not in declared:
            known = ", ".join([*declared, *about_view])
            raise ParameterError(
                f"query {query.name} has no parameter {name!r}; "
                + (nearest(name, known.split(", ")) if known else "it takes none"),
                header=query.header,
            )
        kind = declared[name].type
        try:
            if kind == "INTEGER" and not re.fullmatch("[0-9]+", value):
                raise ValueError  # DuckDB would round 1.5
            connection.execute(
                f"SET VARIABLE {quote_identifier(name)} = CAST({quote_literal(value)} AS {kind})"
            )
        except (ValueError, duckdb.Error):
            raise ParameterError(
                f"--param {name}={value}: not {_KINDS.get(kind, kind)} "
                f"({declared[name].description})",
                header=query.header,
            ) from None
    given = {name for name, _ in parameters}
    for name, parameter in declared.items():
        if parameter.required and name not in given:
            raise ParameterError(
                f"query {query.name} needs --param {name}=… ({parameter.description})",
                header=query.header,
            )


def _check_columns(
    connection: duckdb.DuckDBPyConnection, query: Query, parameters: Sequence[tuple[str, str]]
) -> None:
    """Refuse a parameter of the query's own that names no column of the published rows."""
    for name, value in parameters:
        if not name.endswith("_column"):
            continue
        there = [row[0] for row in connection.execute("DESCRIBE scored_headlines").fetchall()]
        if value.lower() not in map(str.lower, there):
            raise ParameterError(
                f"--param {name}={value}: the published rows have no such column; they have: "
                + ", ".join(there),
                header=query.header,
            )
