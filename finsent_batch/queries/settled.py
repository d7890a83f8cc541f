"""The published tables of a query: their columns settled, and what is to be said of them."""

from collections.abc import Mapping, Sequence

import duckdb

from ..errors import BadDataError, FinsentError, UsageError
from ..io.times.settle import TimeCounts
from ..io.times.text import BLANK
from ..store.notes import notes_on, said_of
from ..store.publications import Publication
from ..store.published_tables import Table, describe
from ..store.scored_headlines import check_result_columns, choose_columns, is_dated, settle


def settled_tables(
    connection: duckdb.DuckDBPyConnection,
    publications: Sequence[Publication],
    wanted: Mapping[str, str],
    needs_times: bool,
    strict: bool,
) -> tuple[list[Table], list[str]]:
    """Return the tables of publications with their news columns, and what is to be said.

    Raises:
        BadDataError: no table can be read or, if `strict`, no row has a time where one is needed.
        UsageError: none has a column of a wanted name.
    """
    found: list[tuple[Publication, Table, TimeCounts]] = []
    failures: list[FinsentError] = []
    refused: list[UsageError] = []
    for publication in publications:
        try:
            described = describe(connection, publication)
            check_result_columns(described)
        except FinsentError as error:
            failures.append(error)
            continue
        try:
            table = choose_columns(described, wanted)
        except UsageError as error:  # others may have it
            refused.append(error)
            table = choose_columns(described, {})
        counts = TimeCounts()
        if needs_times:
            table, counts = _counted(connection, publication, table)
        found.append((publication, table, counts))
    if failures and not found:
        raise failures[0]
    if refused and len(refused) == len(found):
        raise refused[0]
    notes = [f"left out: {error}" for error in failures]
    if found:
        kept, tables, counted = (list(part) for part in zip(*found, strict=True))
        if strict and needs_times:
            _check_some_time(tables, counted)
        asked = strict and needs_times  # a report says so itself
        notes += notes_on(kept, counted, [is_dated(t) or not asked for t in tables])
    return [table for _, table, _ in found], notes


def _counted(
    connection: duckdb.DuckDBPyConnection, publication: Publication, table: Table
) -> tuple[Table, TimeCounts]:
    """Return how many rows have a time: as it was recorded, or counted now."""
    if publication.undated is None or table.news != publication.columns:
        return settle(connection, table)
    dated = publication.rows - publication.undated
    return table, TimeCounts(dated=dated, undated=publication.undated, faults=publication.faults)


def _check_some_time(tables: Sequence[Table], counts: Sequence[TimeCounts]) -> None:
    """Refuse to tell about days where not one row has one, though there are values."""
    total = sum(counts, TimeCounts())
    faults = {reason: rows for reason, rows in total.faults.items() if reason != BLANK}
    without = not all(map(is_dated, tables))
    if total.dated or without or not faults:
        return
    first = next(t for t, c in zip(tables, counts, strict=True) if c.undated)
    assert first.news is not None
    raise BadDataError(
        f'column "{first.news.date_column}" of {first.source} holds no times such as 2014-01-06 '
        f"09:30 ({said_of(faults)}): score it again with --date-format dmy, mdy or ymd, with the "
        "feed's --timezone such as Europe/London, or with another --date-column; or name another "
        "with --param date_column=…"
    )
