"""`scored_headlines`: the SQL of the one relation over all published rows.

It reads the files in place. Those of the same columns are read together, and
one that is gone gives no rows, so that a view kept in the store outlives its files.
"""

from collections.abc import Mapping, Sequence

import duckdb

from ..config import DATE_COLUMNS, TEXT_COLUMNS
from ..errors import BadDataError, UsageError
from ..io.result_columns import RESULT_SCHEMA
from ..io.sql import quote_identifier
from .publications import Table, relation_sql

_RESULT_TYPES = {
    **dict.fromkeys(RESULT_SCHEMA.names, "VARCHAR"),
    **dict.fromkeys(("sentiment_score", "p_negative", "p_neutral", "p_positive"), "FLOAT"),
    "scored_at": "TIMESTAMP",
}
"""The types of result columns, which CSV does not keep."""
_OWN_COLUMNS = {*_RESULT_TYPES, "news_time", "news_text"}
# A time of day, then Z, a name or an offset: only such text says which zone it means.
_HAS_ZONE = r":[0-9.]+ ?([A-Za-z_/]+|[+-][0-9]{2}(:?[0-9]{2})?)$"


def scored_headlines_sql(tables: Sequence[Table], columns: Mapping[str, str] | None = None) -> str:
    """Return the SELECT behind `scored_headlines`: all tables, with `news_time` and `news_text`.

    `columns` may name the `date_column` and the `text_column`; else each table's
    first usual one is taken. Where a column has several types, it becomes text.

    Raises:
        BadDataError: a table lacks a result column.
        UsageError: a table lacks a column that was named.
    """
    columns = columns or {}
    groups: dict[tuple[object, ...], list[Table]] = {}
    kinds: dict[str, set[str]] = {}
    for table in tables:
        _check_result_columns(table)
        alone = table.source if table.kind == "duckdb" else None
        groups.setdefault((table.kind, table.columns, alone), []).append(table)
        for name, kind in table.columns:
            kinds.setdefault(name, set()).add(kind)
    mixed = {name for name, found in kinds.items() if len(found) > 1}
    selects = []
    for group in groups.values():
        names = group[0].names
        date = pick(names, columns, "date_column", DATE_COLUMNS, group[0].source)
        text = pick(names, columns, "text_column", TEXT_COLUMNS, group[0].source)
        selects.append(_select(group, date, text, mixed))
    if not selects:
        nothing = [f"CAST(NULL AS {kind}) AS {name}" for name, kind in _RESULT_TYPES.items()]
        nothing += ["CAST(NULL AS TIMESTAMP) AS news_time", "CAST(NULL AS VARCHAR) AS news_text"]
        return f"SELECT {', '.join(nothing)} WHERE false"
    return "\nUNION ALL BY NAME\n".join(selects)


def _check_result_columns(table: Table) -> None:
    lacking = [name for name in RESULT_SCHEMA.names if name not in table.names]
    if lacking:
        raise BadDataError(
            f"{table.source} has no column {lacking[0]!r}: is it an output of score?"
        )


def _select(group: Sequence[Table], date: str | None, text: str | None, mixed: set[str]) -> str:
    first = group[0]
    relation = relation_sql(first.kind, [table.source for table in group])
    if first.kind != "duckdb":
        # An absent file has no columns: these keep the view's in place.
        columns = ", ".join(f"CAST(NULL AS {kind}) AS {quote_identifier(name)}"
                            for name, kind in first.columns)  # fmt: skip
        relation = f"(SELECT {columns} WHERE false UNION ALL BY NAME FROM {relation})"
    parts = []
    for name in first.names:
        column = quote_identifier(name)
        if name.casefold() not in _OWN_COLUMNS:
            parts.append(f"CAST({column} AS VARCHAR) AS {column}" if name in mixed else column)
    parts += [f"CAST({name} AS {kind}) AS {name}" for name, kind in _RESULT_TYPES.items()]
    parts.append(f"{time_sql(first, date)} AS news_time")
    parts.append(f"CAST({quote_identifier(text) if text else 'NULL'} AS VARCHAR) AS news_text")
    return f"SELECT {', '.join(parts)} FROM {relation}"


def time_sql(table: Table, date: str | None) -> str:
    """Return a date column as TIMESTAMP in UTC; text without a zone is taken as UTC."""
    if date is None:
        return "CAST(NULL AS TIMESTAMP)"
    column, kind = quote_identifier(date), dict(table.columns)[date]
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"timezone('UTC', {column})"
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"CAST({column} AS TIMESTAMP)"
    said = f"CAST({column} AS VARCHAR)"
    return (
        f"CASE WHEN regexp_matches({said}, '{_HAS_ZONE}') "
        f"THEN timezone('UTC', TRY_CAST({said} AS TIMESTAMPTZ)) "
        f"ELSE TRY_CAST({said} AS TIMESTAMP) END"
    )


def check_times(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[Table], columns: Mapping[str, str]
) -> None:
    """Refuse a date column of which not one value is a time: a query would find nothing.

    Raises:
        BadDataError: naming the column and the file.
    """
    for table in tables:
        date = pick(table.names, columns, "date_column", DATE_COLUMNS, table.source)
        if date is None or dict(table.columns)[date].startswith(("TIMESTAMP", "DATE")):
            continue
        [(values, times)] = connection.execute(
            f"SELECT count({quote_identifier(date)}), count({time_sql(table, date)}) "
            f"FROM {relation_sql(table.kind, [table.source])}"
        ).fetchall()
        if values and not times:
            raise BadDataError(
                f'column "{date}" of {table.source} holds no times such as 2014-01-06 09:30: '
                "name another with --param date_column=…"
            )


def pick(
    names: Sequence[str],
    wanted: Mapping[str, str],
    parameter: str,
    usual: Sequence[str],
    source: str,
) -> str | None:
    """Return the column that a parameter names, else the first usual one there is.

    Raises:
        UsageError: there is no column of the name.
    """
    name = wanted.get(parameter) or next((c for c in usual if c in names), None)
    if name is not None and name not in names:
        raise UsageError(
            f"--param {parameter}={name}: {source} has no such column; it has: {', '.join(names)}"
        )
    return name
