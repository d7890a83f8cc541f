"""The Python API over frames: what `score` and `query` do, without files."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal, overload

import polars as pl
import pyarrow as pa

from .config import ScoreConfig, StoreConfig
from .io.arrow import ArrowSink, ArrowSource
from .pipeline.score import execute, open_run
from .pipeline.tasks import make_task
from .progress import StopRequest, no_progress
from .queries.run import run_query_arrow, run_sql, to_polars


def score_frame(
    frame: pl.DataFrame,
    *,
    text_column: str | None = None,
    model: str | None = None,
    store: Path | str | None = None,
    replace_columns: bool = False,
) -> pl.DataFrame:
    """Return the frame with the nine result columns after its own; rows and order stay.

    `store` names the DuckDB file that keeps the scores; without it nothing is
    kept. `text_column` defaults as for the command.

    Raises:
        FinsentError: anything expected that prevents it.
    """
    config = ScoreConfig(
        input="memory",
        text_column=text_column,
        engine="local",
        replace_columns=replace_columns,
    )
    if model is not None:
        config = replace(config, model=replace(config.model, model=model))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(store) if store is not None else Path(scratch) / "store.duckdb"
        config = replace(config, store=StoreConfig(path=path))
        source, sink = ArrowSource(frame.to_arrow()), ArrowSink()
        with open_run(config, no_progress, StopRequest()) as run:
            run.tasks = [make_task(source, sink, config, "the frame")]
            run.summary.output = "memory"
            execute(run)
    scored = pl.from_arrow(sink.result)
    assert isinstance(scored, pl.DataFrame)
    return scored


@overload
def query(
    name: str,
    *,
    store: Path | str | None = ...,
    published: str | None = ...,
    frame: Literal["polars"] = ...,
    **parameters: object,
) -> pl.DataFrame: ...


@overload
def query(
    name: str,
    *,
    store: Path | str | None = ...,
    published: str | None = ...,
    frame: Literal["arrow"],
    **parameters: object,
) -> pa.Table: ...


def query(
    name: str,
    *,
    store: Path | str | None = None,
    published: str | None = None,
    frame: Literal["polars", "arrow"] = "polars",
    **parameters: object,
) -> "pl.DataFrame | pa.Table":
    """Run one of the packaged queries; return its rows as a polars frame or an Arrow table.

    Parameters are those of the query's header; see `queries.run_query`.
    """
    pairs = [(key, str(value)) for key, value in parameters.items()]
    config = _store_config(store)
    table = run_query_arrow(name, config, parameters=pairs, published=published)
    return table if frame == "arrow" else to_polars(table)


@overload
def query_sql(
    statement: str,
    *,
    store: Path | str | None = ...,
    published: str | None = ...,
    frame: Literal["polars"] = ...,
) -> pl.DataFrame: ...


@overload
def query_sql(
    statement: str,
    *,
    store: Path | str | None = ...,
    published: str | None = ...,
    frame: Literal["arrow"],
) -> pa.Table: ...


def query_sql(
    statement: str,
    *,
    store: Path | str | None = None,
    published: str | None = None,
    frame: Literal["polars", "arrow"] = "polars",
) -> "pl.DataFrame | pa.Table":
    """Run one SELECT over the store's tables and views; see `queries.run_sql`."""
    table = run_sql(statement, _store_config(store), published=published)
    return table if frame == "arrow" else to_polars(table)


def _store_config(store: Path | str | None) -> StoreConfig:
    return StoreConfig() if store is None else StoreConfig(path=Path(store))
