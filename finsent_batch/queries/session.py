"""A connection that SQL may use: the views in place, nothing writable, no other file in reach."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ..config import LABEL_COLUMNS, TEXT_COLUMNS, StoreConfig
from ..errors import BadDataError, MissingInputError
from ..io.sql import quote_identifier, quote_literal
from ..store.publications import (
    Publication,
    Table,
    describe,
    latest_publications,
    named,
    relation_sql,
    shut_in,
)
from ..store.scored_headlines import check_times, pick, scored_headlines_sql
from ..store.store import Store
from ..store.views import (
    EVALUATED_COLUMNS,
    HEADLINE_SCORES,
    create_temporary_views,
    evaluated_headlines_sql,
    predictions_files,
)
from .catalog import load_query

VIEW_PARAMETERS = {
    "scored_headlines": ("date_column", "text_column"),
    "evaluated_headlines": ("label_column", "text_column"),
}
"""Which columns a query about the view lets its user name, besides its own parameters."""


@contextmanager
def query_session(
    store: StoreConfig,
    published: str | None,
    view: str | None,
    columns: Mapping[str, str],
    *,
    needs_times: bool = False,
    may_be_empty: bool = False,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection to the store with `view` made anew, or to `published` and no store.

    `columns` are values of `VIEW_PARAMETERS`.

    Raises:
        MissingInputError: no store or file, or nothing for the view (unless `may_be_empty`).
        BadDataError: a file cannot be read or lacks what the view needs.
        TryAgainError: a job is writing to the store.
    """
    if published is None:
        with Store.open(store, read_only=True) as opened:
            _views_of_store(opened, view, columns, needs_times, may_be_empty)
            yield opened.connection
        return
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        publication = named(published)
        shut_in(connection, [publication.path])
        table = describe(connection, publication)
        if view == "evaluated_headlines":
            views = {view: _named_predictions(table, columns)}
        else:
            views = _scored(connection, [table], columns, needs_times)
        create_temporary_views(connection, views)
        yield connection


def view_published(
    connection: duckdb.DuckDBPyConnection,
    publications: Sequence[Publication],
    columns: Mapping[str, str],
) -> None:
    """Make `scored_headlines` of these publications; from then on SQL reaches no other file.

    `news_time` is NULL where there is no time in the date column.

    Raises:
        BadDataError: an output cannot be read.
        UsageError: `columns` names a column that an output lacks.
    """
    shut_in(connection, [publication.path for publication in publications])
    tables = [describe(connection, publication) for publication in publications]
    create_temporary_views(connection, _scored(connection, tables, columns, needs_times=False))


def _views_of_store(
    store: Store,
    view: str | None,
    columns: Mapping[str, str],
    needs_times: bool,
    may_be_empty: bool,
) -> None:
    """Make the views over the store, which then reaches no file but those they read."""
    views = {"headline_scores": HEADLINE_SCORES}
    if view == "scored_headlines":
        publications = _publications(store, may_be_empty)
        shut_in(store.connection, [p.path for p in publications])
        tables = [describe(store.connection, p) for p in publications]
        views |= _scored(store.connection, tables, columns, needs_times)
    elif view == "evaluated_headlines":
        recorded = predictions_files(store)
        paths = [path for path in recorded if Path(path).exists()]
        if not paths and not may_be_empty:
            raise MissingInputError(
                f"the store {store.path} knows of no predictions"
                + (" that still exist" if recorded else "")
                + ": run finsent-batch evaluate, or name a labelled scored file with --from"
            )
        shut_in(store.connection, paths)
        views[view] = evaluated_headlines_sql(paths)
    else:
        shut_in(store.connection, [])
    create_temporary_views(store.connection, views)


def _publications(store: Store, may_be_empty: bool) -> list[Publication]:
    found = latest_publications(store)
    if not found and not may_be_empty:
        recorded = store.query("SELECT count(*) FROM run_files")[0][0]
        raise MissingInputError(
            f"the store {store.path} knows of no published rows"
            + (" that still exist" if recorded else "")
            + ": run finsent-batch score, or name a scored file with --from"
        )
    return found


def _scored(
    connection: duckdb.DuckDBPyConnection,
    tables: Sequence[Table],
    columns: Mapping[str, str],
    needs_times: bool,
) -> dict[str, str]:
    sql = scored_headlines_sql(tables, columns)
    if needs_times:
        check_times(connection, tables, columns)
    return {"scored_headlines": sql, "daily_sentiment": load_query("daily_sentiment").text}


def _named_predictions(table: Table, columns: Mapping[str, str]) -> str:
    """Return the SELECT behind `evaluated_headlines` over one file, whose model has no name."""
    label = pick(table.names, columns, "label_column", LABEL_COLUMNS[:1], table.source)
    text = pick(table.names, columns, "text_column", TEXT_COLUMNS, table.source)
    needed = [name for name in EVALUATED_COLUMNS if name not in ("headline", "label")]
    lacking = [name for name in needed if name not in table.names]
    if label is None or lacking:
        raise BadDataError(
            f"{table.source} has no column {lacking[0] if lacking else 'label'!r}: name the "
            "predictions.parquet of evaluate, or a scored file with --param label_column=…"
        )
    model = "coalesce(model_fingerprint, '')" if "model_fingerprint" in table.names else "''"
    parts = [f"CAST({name} AS {EVALUATED_COLUMNS[name]}) AS {name}" for name in needed]
    return f"""
    SELECT {model} AS model, {model} AS model_fingerprint,
        {quote_literal(table.source)} AS data,
        CAST({quote_identifier(text) if text else "NULL"} AS VARCHAR) AS headline,
        lower(CAST({quote_identifier(label)} AS VARCHAR)) AS label, {", ".join(parts)}
    FROM {relation_sql(table.kind, [table.source])}
    WHERE {quote_identifier(label)} IS NOT NULL"""
