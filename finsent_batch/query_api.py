"""The Python API of queries: rows as a frame of polars, Arrow or pandas."""

import datetime
import os
from pathlib import Path
from typing import Any, Literal, overload

import polars as pl
import pyarrow as pa

from .config import StoreConfig
from .frames import check_kind
from .queries.run import run_query_arrow, run_sql, to_polars

FrameKind = Literal["polars", "arrow", "pandas"]


@overload
def query(
    name: str,
    *,
    store: Path | str | None = ...,
    published: Path | str | None = ...,
    frame: Literal["polars"] = ...,
    **parameters: object,
) -> pl.DataFrame: ...


@overload
def query(
    name: str,
    *,
    store: Path | str | None = ...,
    published: Path | str | None = ...,
    frame: Literal["arrow"],
    **parameters: object,
) -> pa.Table: ...


@overload
def query(
    name: str,
    *,
    store: Path | str | None = ...,
    published: Path | str | None = ...,
    frame: Literal["pandas"],
    **parameters: object,
) -> Any: ...


def query(
    name: str,
    *,
    store: Path | str | None = None,
    published: Path | str | None = None,
    frame: FrameKind = "polars",
    **parameters: object,
) -> Any:
    """Run one of the packaged queries; return its rows as a frame of polars, Arrow or pandas.

    Parameters are those of the query's header; see `queries.run_query`.

    Raises:
        TypeError: an argument of another type.
        UsageError: no such query or kind of frame.
        FinsentError: anything else expected that prevents it.
    """
    check_kind(frame)
    pairs = [(key, _parameter(key, value)) for key, value in parameters.items()]
    config, place = _store_config(store), _text("published", published)
    return _as(
        frame, run_query_arrow(_name("name", name), config, parameters=pairs, published=place)
    )


@overload
def query_sql(
    statement: str,
    *,
    store: Path | str | None = ...,
    published: Path | str | None = ...,
    frame: Literal["polars"] = ...,
    **parameters: object,
) -> pl.DataFrame: ...


@overload
def query_sql(
    statement: str,
    *,
    store: Path | str | None = ...,
    published: Path | str | None = ...,
    frame: Literal["arrow"],
    **parameters: object,
) -> pa.Table: ...


@overload
def query_sql(
    statement: str,
    *,
    store: Path | str | None = ...,
    published: Path | str | None = ...,
    frame: Literal["pandas"],
    **parameters: object,
) -> Any: ...


def query_sql(
    statement: str,
    *,
    store: Path | str | None = None,
    published: Path | str | None = None,
    frame: FrameKind = "polars",
    **parameters: object,
) -> Any:
    """Run one SELECT over the store's tables and views; see `queries.run_sql` and `query`.

    Parameters are the values of its `$name`s.
    """
    check_kind(frame)
    config, place = _store_config(store), _text("published", published)
    for name, value in parameters.items():
        _parameter(name, value)
    return _as(
        frame,
        run_sql(_name("statement", statement), config, parameters=parameters, published=place),
    )


def _as(frame: FrameKind, table: pa.Table) -> Any:
    if frame == "arrow":
        return table
    return table.to_pandas() if frame == "pandas" else to_polars(table)


def _store_config(store: Path | str | None) -> StoreConfig:
    return StoreConfig() if store is None else StoreConfig(path=store)  # type: ignore[arg-type]


def _name(argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be text, not {type(value).__name__}")
    return value


def _text(argument: str, value: object) -> str | None:
    if value is None or isinstance(value, str | os.PathLike):
        return None if value is None else os.fspath(value)
    raise TypeError(f"{argument} must be text or a path, not {type(value).__name__}")


def _parameter(name: str, value: object) -> str:
    """Return a query's parameter as text.

    Raises:
        TypeError: a value that a query cannot take.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | datetime.date | os.PathLike):
        return str(value)
    raise TypeError(f"parameter {name} takes text, a number or a date, not {type(value).__name__}")
