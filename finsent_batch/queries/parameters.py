"""The parameters of the packaged queries: checked, and given to DuckDB as variables."""

import os
import re
from collections.abc import Sequence
from typing import Final

import duckdb

from ..errors import ParameterError
from ..io.sql import quote_identifier, quote_literal
from .catalog import Query, nearest

VIEW_PARAMETERS: Final = {
    "scored_headlines": ("date_column", "text_column"),
    "evaluated_headlines": ("label_column", "text_column"),
}
"""Which columns a query about the view lets its user name, besides its own parameters."""
_KINDS = {
    "INTEGER": "a whole number from {} to {}",
    "DOUBLE": "a number",
    "DATE": "a date such as 2014-01-31",
}
"""How a type in a query's header is said."""


def view_parameters(query: Query) -> tuple[str, ...]:
    """Return the parameters that a query has because of the view that it reads."""
    return next((names for view, names in VIEW_PARAMETERS.items() if query.reads(view)), ())


def set_parameters(
    connection: duckdb.DuckDBPyConnection,
    query: Query,
    parameters: Sequence[tuple[str, str]],
    about_view: Sequence[str],
) -> None:
    """Give a query the values of its own parameters as DuckDB variables.

    Raises:
        ParameterError: one is missing, unknown or of the wrong type.
    """
    declared = {p.name: p for p in query.parameters}
    for name, value in parameters:
        if name not in declared:
            known = ", ".join([*declared, *about_view])
            raise ParameterError(
                f"query {query.name} has no parameter {name!r}; "
                + (nearest(name, known.split(", ")) if known else "it takes none"),
                header=query.header,
            )
        kind, (least, most) = declared[name].type, declared[name].bounds
        try:
            # DuckDB would round 1.5.
            whole = re.fullmatch("[0-9]+", value) and least <= int(value) <= most
            if kind == "INTEGER" and not whole:
                raise ValueError
            connection.execute(
                f"SET VARIABLE {quote_identifier(name)} = CAST({quote_literal(value)} AS {kind})"
            )
        except (ValueError, duckdb.Error):
            raise ParameterError(
                f"--param {name}={value}: not {_KINDS.get(kind, kind).format(least, most)} "
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


def check_columns(
    connection: duckdb.DuckDBPyConnection, query: Query, parameters: Sequence[tuple[str, str]]
) -> None:
    """Refuse a parameter of the query's own that names no column of the published rows.

    Raises:
        ParameterError: saying which columns there are.
    """
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


def choose_evaluated(
    connection: duckdb.DuckDBPyConnection, query: Query, parameters: Sequence[tuple[str, str]]
) -> None:
    """Refuse a model or data that was never evaluated; data may be named as it is from here.

    Raises:
        ParameterError: saying what was evaluated.
    """
    columns = {"model": ("model", "model_fingerprint"), "data": ("data",)}
    for name, value in parameters if query.reads("evaluated_headlines") else ():
        if name not in columns:
            continue
        listed = ", ".join(columns[name])
        rows = connection.execute(f"SELECT DISTINCT {listed} FROM evaluated_headlines").fetchall()
        known = {given for row in rows for given in row}
        path = os.path.realpath(value)
        if name == "data" and value not in known and path in known:
            connection.execute(f"SET VARIABLE data = {quote_literal(path)}")
        elif known and value not in known:
            there = ", ".join(sorted({str(row[0]) for row in rows})[:10])
            raise ParameterError(
                f"--param {name}={value}: no such {name} was evaluated; there is: {there}",
                header=query.header,
            )
