"""A connection that SQL may use: the views in place, nothing writable, no other file in reach."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from ..config import LABEL_COLUMNS, TEXT_COLUMNS, StoreConfig
from ..errors import BadDataError, MissingInputError, UsageError
from ..io.columns import named_column, usual_columns
from ..io.sql import quote_identifier, quote_literal, read_sql
from ..store.publications import Publication, latest_publications, named
from ..store.published_tables import Table, describe, relation_sql, restrict_file_access
from ..store.scored_headlines import (
    is_dated,
    scored_headlines_sql,
)
from ..store.store import Store
from ..store.views import (
    EVALUATED_COLUMNS,
    create_temporary_views,
    evaluated_headlines_sql,
    predictions_files,
)
from .settled import settled_tables

logger = logging.getLogger(__name__)

VIEW_PARAMETERS = {
    "scored_headlines": ("date_column", "text_column"),
    "evaluated_headlines": ("label_column", "text_column"),
}
"""Which columns a query about the view lets its user name, besides its own parameters."""


@dataclass(kw_only=True)
class QuerySession:
    """A connection to run SQL in, and the published tables that its views read."""

    connection: duckdb.DuckDBPyConnection
    tables: list[Table] = field(default_factory=list)

    def leave_out_unreadable(self) -> bool:
        """Make the views anew without the tables that cannot be read to their end.

        Returns whether there were any, and something is left.
        """
        broken = [table for table in self.tables if not self._is_readable(table)]
        for table in broken:
            logger.warning("%s cannot be read and is left out: score it again", table.source)
        self.tables = [table for table in self.tables if table not in broken]
        if broken and self.tables:
            create_temporary_views(self.connection, _views_over(self.tables))
        return bool(broken and self.tables)

    def _is_readable(self, table: Table) -> bool:
        relation = relation_sql(table.kind, [table.source], table.names)
        try:
            self.connection.execute(f"SELECT count(hash(t)) FROM {relation} AS t").fetchall()
        except duckdb.Error:
            return False
        return True


@contextmanager
def query_session(
    store: StoreConfig,
    published: str | None,
    view: str | None,
    columns: Mapping[str, str],
    *,
    needs_times: bool = False,
    may_be_empty: bool = False,
) -> Iterator[QuerySession]:
    """Give a connection to the store with `view` made anew, or to `published` and no store.

    `columns` are values of `VIEW_PARAMETERS`. What a number leaves out is logged as a warning.

    Raises:
        MissingInputError: no store or file, or nothing for the view (unless `may_be_empty`).
        BadDataError: a file cannot be read or lacks what the view needs.
        TryAgainError: a job is writing to the store.
    """
    if published is None:
        with Store.open(store, read_only=True) as opened:
            yield _over_store(opened, view, columns, needs_times, may_be_empty)
        return
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        publication = named(published)
        restrict_file_access(connection, [publication.path])
        if view == "evaluated_headlines":
            table = describe(connection, publication)
            create_temporary_views(connection, {view: _named_predictions(table, columns)})
            yield QuerySession(connection=connection)
        else:
            yield _over_publications(connection, [publication], columns, needs_times)


def view_published(
    connection: duckdb.DuckDBPyConnection,
    publications: Sequence[Publication],
    columns: Mapping[str, str],
) -> tuple[bool, list[str]]:
    """Make `scored_headlines` of these publications; from then on SQL reaches no other file.

    `news_time` is NULL where there is no time in the date column. Returns whether some rows
    have a date column, and what is to be said beside numbers by day.

    Raises:
        BadDataError: an output cannot be read.
        UsageError: `columns` names a column that an output lacks.
    """
    restrict_file_access(connection, [publication.path for publication in publications])
    tables, notes = settled_tables(
        connection, publications, columns, needs_times=True, strict=False
    )
    create_temporary_views(connection, _views_over(tables))
    return any(map(is_dated, tables)), notes


def _over_store(
    store: Store,
    view: str | None,
    columns: Mapping[str, str],
    needs_times: bool,
    may_be_empty: bool,
) -> QuerySession:
    """Make the views over the store, which then reaches no file but those they read."""
    views = {"headline_scores": read_sql("store/views/headline_scores")}
    create_temporary_views(store.connection, views)
    if view == "scored_headlines":
        publications = _publications(store, may_be_empty)
        restrict_file_access(store.connection, [p.path for p in publications])
        return _over_publications(store.connection, publications, columns, needs_times)
    if view == "evaluated_headlines":
        recorded = predictions_files(store)
        paths = [path for path in recorded if Path(path).exists()]
        if not paths and not may_be_empty:
            raise MissingInputError(
                f"the store {store.path} knows of no predictions"
                + (" that still exist" if recorded else "")
                + ": run finsent-batch evaluate, or name a labelled scored file with --from"
            )
        restrict_file_access(store.connection, paths)
        create_temporary_views(store.connection, {view: evaluated_headlines_sql(paths)})
    else:
        restrict_file_access(store.connection, [])
    return QuerySession(connection=store.connection)


def _over_publications(
    connection: duckdb.DuckDBPyConnection,
    publications: Sequence[Publication],
    columns: Mapping[str, str],
    needs_times: bool,
) -> QuerySession:
    tables, notes = settled_tables(connection, publications, columns, needs_times, strict=True)
    for note in notes:
        logger.warning("%s", note)
    create_temporary_views(connection, _views_over(tables))
    return QuerySession(connection=connection, tables=tables)


def _views_over(tables: Sequence[Table]) -> dict[str, str]:
    return {
        "scored_headlines": scored_headlines_sql(tables),
        "daily_sentiment": read_sql("daily_sentiment"),
    }


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


def _named_predictions(table: Table, columns: Mapping[str, str]) -> str:
    """Return the SELECT behind `evaluated_headlines` over one file, whose model has no name."""
    label = _picked(table, columns, "label_column", LABEL_COLUMNS[:1])
    text = _picked(table, columns, "text_column", TEXT_COLUMNS)
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
    FROM {relation_sql(table.kind, [table.source], table.names)}
    WHERE {quote_identifier(label)} IS NOT NULL"""


def _picked(
    table: Table, wanted: Mapping[str, str], parameter: str, usual: Sequence[str]
) -> str | None:
    """Return the column that a parameter names, else the first usual one there is.

    Raises:
        UsageError: there is no column of the name.
    """
    if parameter not in wanted:
        return next(iter(usual_columns(table.names, usual)), None)
    column = named_column(table.names, wanted[parameter])
    if column is None:
        raise UsageError(
            f"--param {parameter}={wanted[parameter]}: {table.source} has no such column; "
            f"it has: {', '.join(table.names)}"
        )
    return column
