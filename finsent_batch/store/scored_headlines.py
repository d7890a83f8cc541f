"""`scored_headlines`: the SQL of the one relation over all published rows.

It reads the files in place. Those of the same columns are read together, and
one that is gone gives no rows, so that a view kept in the store outlives its files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb

from ..errors import BadDataError, UsageError
from ..io.columns import (
    SCORED_AT,
    TEXT_COLUMNS,
    NewsColumns,
    choose_date_column,
    named_column,
    usual_columns,
)
from ..io.result_columns import RESULT_SCHEMA
from ..io.sql import own_name, quote_identifier, quote_literal
from ..io.times.reading import TimeReading, with_time_sql
from ..io.times.settle import TimeCounts, count_times, settle_order
from .published_tables import Table, literal_path, relation_sql

_RESULT_TYPES = {
    **dict.fromkeys(RESULT_SCHEMA.names, "VARCHAR"),
    **dict.fromkeys(("sentiment_score", "p_negative", "p_neutral", "p_positive"), "FLOAT"),
    "scored_at": "TIMESTAMP",
}
"""The types of result columns, which CSV does not keep."""
_ADDED_TYPES = {**_RESULT_TYPES, "news_time": "TIMESTAMP", "news_text": "VARCHAR"}
_NOTHING = "SELECT {} WHERE false".format(
    ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in _ADDED_TYPES.items())
)
_OWN_COLUMNS = {*_ADDED_TYPES}


def scored_headlines_sql(tables: Sequence[Table]) -> str:
    """Return the SELECT behind `scored_headlines`: all tables, with `news_time` and `news_text`.

    Each table's news must be settled, as `settle` does. Where a column has several
    types, it becomes text.

    Raises:
        BadDataError: a table lacks a result column.
    """
    return _all(_selects(tables, _mixed(tables)))


def kept_view_sql(
    tables: Sequence[Table], spared: Sequence[str], recorded: int, elsewhere: Sequence[str]
) -> str:
    """Return the SELECT behind the view that the store keeps, which outlives files.

    It never gives no rows, or old ones, without a word: where nothing is left of what was
    `recorded`, or a file of `spared` is gone, in whose place an older output counts now, it
    raises an error. So it does where some are `elsewhere`, in buckets.
    """
    mixed = _mixed(tables)
    selects = _selects(tables, mixed)
    # `Date` of one feed and `date` of another are one column.
    kinds = {name.casefold(): (name, kind) for table in tables for name, kind in table.columns}
    columns = {
        name: "VARCHAR" if key in mixed else kind
        for key, (name, kind) in kinds.items()
        if key not in _OWN_COLUMNS
    }
    columns |= _ADDED_TYPES
    files = sorted({table.file for table in tables if table.file})
    if recorded and not elsewhere and not (files and set(files) <= set(spared)):
        told = (
            "no published output is there any more"
            f"{f', such as {files[0]}' if files else ''}: bring them back, or run finsent-batch "
            "score again"
        )
        selects.append(_told_if_gone(files, 1, told, columns))
    if elsewhere:
        told = (
            f"outputs in buckets, such as {elsewhere[0]}, are out of this view's reach: ask "
            "finsent-batch query"
        )
        selects.append(_told_if_gone([], 1, told, columns))
    if spared:
        told = (
            f"{' or '.join(spared[:3])} is gone: finsent-batch query answers from the outputs "
            "before it, this view once finsent-batch score has run again"
        )
        selects.append(_told_if_gone(spared, len(spared), told, columns))
    return _all(selects)


def _told_if_gone(files: Sequence[str], needed: int, told: str, columns: Mapping[str, str]) -> str:
    """Return a SELECT of no rows that raises an error once fewer files than `needed` are there.

    Nothing may let DuckDB leave it out: no filter reaches below a LIMIT, and none can tell
    beforehand that it takes no row of columns that are only NULL by chance.
    """
    listed = ", ".join(quote_literal(literal_path(file)) for file in files)
    left = f"(SELECT count(*) AS files FROM glob([{listed}]))" if files else "(SELECT 0 AS files)"
    raised = f"CAST(error({quote_literal(told + '; files left: ')} || files) AS BOOLEAN)"
    nulls = ", ".join(
        f"CAST(CASE WHEN random() < 0 THEN CAST(random() AS VARCHAR) END AS {kind}) "
        f"AS {quote_identifier(name)}"
        for name, kind in columns.items()
    )
    return (
        f"SELECT {nulls} FROM (SELECT files FROM {left} "
        f"WHERE CASE WHEN files < {needed} THEN {raised} ELSE false END LIMIT 1)"
    )


def _mixed(tables: Sequence[Table]) -> set[str]:
    """Return the columns that have several types, in small letters as SQL tells names apart."""
    kinds: dict[str, set[str]] = {}
    for table in tables:
        for name, kind in table.columns:
            kinds.setdefault(name.casefold(), set()).add(kind)
    return {name for name, found in kinds.items() if len(found) > 1}


def _selects(tables: Sequence[Table], mixed: set[str]) -> list[str]:
    groups: dict[tuple[object, ...], list[Table]] = {}
    for table in tables:
        check_result_columns(table)
        alone = table.source if table.kind == "duckdb" else None
        groups.setdefault((table.kind, table.columns, table.news, alone), []).append(table)
    return [_select(group, mixed) for group in groups.values()]


def _all(selects: Sequence[str]) -> str:
    return "\nUNION ALL BY NAME\n".join(selects or [_NOTHING])


def check_result_columns(table: Table) -> None:
    """Raise BadDataError if a table lacks a column that `score` adds."""
    lacking = [name for name in RESULT_SCHEMA.names if name not in table.names]
    if lacking:
        raise BadDataError(
            f"{table.source} has no column {lacking[0]!r}: is it an output of score?"
        )


def _select(group: Sequence[Table], mixed: set[str]) -> str:
    first = group[0]
    news = first.news or NewsColumns()
    relation = relation_sql(first.kind, [table.source for table in group], first.names)
    # A file that is gone has no columns: these keep the view's in place.
    columns = ", ".join(
        f"CAST(NULL AS {kind}) AS {quote_identifier(name)}" for name, kind in first.columns
    )
    relation = f"(SELECT {columns} WHERE false UNION ALL BY NAME FROM {relation})"
    parts = []
    for name in first.names:
        column = quote_identifier(name)
        if name.casefold() not in _OWN_COLUMNS:
            as_text = name.casefold() in mixed
            parts.append(f"CAST({column} AS VARCHAR) AS {column}" if as_text else column)
    parts += [f"CAST({name} AS {kind}) AS {name}" for name, kind in _RESULT_TYPES.items()]
    parts.append("_t_time AS news_time")
    parts.append(f"{_text_sql(first, news.text_column)} AS news_text")
    date = news.date_column or SCORED_AT
    timed = with_time_sql(relation, date, dict(first.columns)[date], news.times)
    return f"SELECT {', '.join(parts)} FROM ({timed})"


def _text_sql(table: Table, column: str | None) -> str:
    if column is None:
        return "CAST(NULL AS VARCHAR)"
    name = quote_identifier(column)
    # Text of writers that do not say that it is text.
    is_binary = dict(table.columns)[column] == "BLOB"
    return f"TRY(decode({name}))" if is_binary else f"CAST({name} AS VARCHAR)"


def choose_columns(table: Table, wanted: Mapping[str, str]) -> Table:
    """Return the table with its news columns: those named, else recorded, else the usual ones.

    `wanted` may name the `date_column` and the `text_column`.

    Raises:
        UsageError: a table lacks a column that was named.
    """
    news = table.news or NewsColumns()
    # Recorded as its input named it; a table that nights share has the first night's spelling.
    text = None if news.text_column is None else own_name(table.names, news.text_column)
    recorded = None if news.date_column is None else own_name(table.names, news.date_column)
    date = recorded
    if text is None:
        text = next(iter(usual_columns(table.names, TEXT_COLUMNS)), None)
    if table.news is None or (news.date_column is not None and date is None):
        date = choose_date_column(table.names, None, table.source)
    if "text_column" in wanted:
        text = _named(table, "text_column", wanted["text_column"])
    times = news.times
    if "date_column" in wanted:
        chosen = _named(table, "date_column", wanted["date_column"])
        if chosen != recorded:
            times = TimeReading(timezone=times.timezone)
        date = None if chosen == SCORED_AT else chosen
    return replace(table, news=NewsColumns(text_column=text, date_column=date, times=times))


def _named(table: Table, parameter: str, wanted: str) -> str:
    column = named_column(table.names, wanted)
    if column is None:
        raise UsageError(
            f"--param {parameter}={wanted}: {table.source} has no such column; it has: "
            + ", ".join(table.names)
        )
    return column


def is_dated(table: Table) -> bool:
    """Return whether a table has a column with the time of its news."""
    return table.news is not None and table.news.date_column is not None


def settle(connection: duckdb.DuckDBPyConnection, table: Table) -> tuple[Table, TimeCounts]:
    """Look at a table's times: returns it with their order settled, and how many can be read."""
    news = table.news or NewsColumns()
    if news.date_column is None:
        return table, TimeCounts()
    relation = relation_sql(table.kind, [table.source], table.names)
    kind = dict(table.columns)[news.date_column]
    times = settle_order(connection, relation, news.date_column, kind, news.times)
    counts = count_times(connection, relation, news.date_column, kind, times)
    return replace(table, news=replace(news, times=times)), counts
