"""A connection that SQL may use: the views in place, nothing writable, no other file in reach."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from ..config import StoreConfig
from ..errors import BadDataError, MissingInputError
from ..io.objects.addresses import is_address
from ..io.sql import read_sql
from ..store.connection import PLAN_CATALOG, configure
from ..store.counted import gone_notes, latest_publications
from ..store.object_copies import copied_here
from ..store.publications import Publication
from ..store.published_tables import Table, describe, relation_sql, restrict_file_access
from ..store.scored_headlines import (
    is_dated,
    scored_headlines_sql,
)
from ..store.store import Store
from ..store.views import (
    create_temporary_views,
    evaluated_headlines_sql,
    predictions_files,
)
from .file_views import headline_scores_sql, predictions_sql
from .named import named_publications, scored_ones
from .recorded import as_recorded
from .settled import settled_tables

logger = logging.getLogger(__name__)

_AGAIN = "score it again with --overwrite"


@dataclass(kw_only=True)
class QuerySession:
    """A connection to run SQL in, and the published tables that its views read."""

    connection: duckdb.DuckDBPyConnection
    tables: list[Table] = field(default_factory=list)

    def leave_out_unreadable(self) -> bool:
        """Make the views anew without the tables that cannot be read to their end.

        Returns whether there were any.

        Raises:
            BadDataError: nothing is left.
        """
        broken = [table for table in self.tables if not self._is_readable(table)]
        left = [table for table in self.tables if table not in broken]
        if broken and not left:
            sources = ", ".join(table.source for table in broken)
            raise BadDataError(f"published rows cannot be read: {sources} is damaged: {_AGAIN}")
        for table in broken:
            logger.warning("%s cannot be read and is left out: %s", table.source, _AGAIN)
        self.tables = left
        if broken:
            create_temporary_views(self.connection, _views_over(self.tables))
        return bool(broken)

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
    writes_to: Path | None = None,
) -> Iterator[QuerySession]:
    """Give a connection to the store with `view` made anew, or to `published` without the store.

    `columns` are values of `parameters.VIEW_PARAMETERS`; `writes_to` is the one place that it
    may write. What a number leaves out is logged as a warning.

    Raises:
        MissingInputError: no store or file, or nothing for the view (unless `may_be_empty`).
        BadDataError: a file cannot be read or lacks what the view needs.
        TryAgainError: a job is writing to the store.
    """
    results = [] if writes_to is None else [str(writes_to)]
    if published is None:
        with Store.open(store, read_only=True) as opened:
            yield _over_store(opened, view, columns, needs_times, may_be_empty, results)
        return
    with (
        duckdb.connect(":memory:") as connection,
        tempfile.TemporaryDirectory(prefix="finsent-") as work,
    ):
        publications = named_publications(published, Path(work))
        configure(connection, store, Path(work))
        connection.execute(f"ATTACH ':memory:' AS {PLAN_CATALOG}")
        paths = [publication.path for publication in publications]
        restrict_file_access(connection, [*paths, *results])
        if view == "evaluated_headlines":
            tables = [describe(connection, publication) for publication in publications]
            create_temporary_views(connection, {view: predictions_sql(tables, columns)})
            yield QuerySession(connection=connection)
        else:
            publications = scored_ones(connection, publications, published)
            publications = as_recorded(store, publications)
            opened_files = _over_publications(connection, publications, columns, needs_times)
            create_temporary_views(connection, {"headline_scores": headline_scores_sql()})
            yield opened_files


def view_published(
    store: Store,
    publications: list[Publication],
    columns: Mapping[str, str],
) -> tuple[bool, list[str]]:
    """Make `scored_headlines` of these publications; from then on SQL reaches no other file.

    `news_time` is NULL where there is no time in the date column. Returns whether some rows
    have a date column, and what is to be said beside numbers by day.

    Raises:
        BadDataError: an output cannot be read.
        UsageError: `columns` names a column that an output lacks.
    """
    publications, gone = _here(store, publications)
    restrict_file_access(store.connection, [publication.path for publication in publications])
    tables, notes = settled_tables(
        store.connection, publications, columns, needs_times=True, strict=False
    )
    create_temporary_views(store.connection, _views_over(tables))
    return any(map(is_dated, tables)), gone + notes


def _here(store: Store, publications: list[Publication]) -> tuple[list[Publication], list[str]]:
    """Return publications that are files, those in buckets as copies; see `copied_here`."""
    if not any(is_address(publication.path) for publication in publications):
        return publications, []
    return copied_here(publications, store.work_folder())


def _over_store(
    store: Store,
    view: str | None,
    columns: Mapping[str, str],
    needs_times: bool,
    may_be_empty: bool,
    results: Sequence[str],
) -> QuerySession:
    """Make the views over the store, which then reaches no file but those they read."""
    views = {"headline_scores": read_sql("store/views/headline_scores")}
    create_temporary_views(store.connection, views)
    if view == "scored_headlines":
        publications = _publications(store, may_be_empty)
        publications, gone = _here(store, publications)
        for note in gone_notes(store) + gone:
            logger.warning("%s", note)
        restrict_file_access(store.connection, [*(p.path for p in publications), *results])
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
        restrict_file_access(store.connection, [*paths, *results])
        create_temporary_views(store.connection, {view: evaluated_headlines_sql(paths)})
    else:
        restrict_file_access(store.connection, results)
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
