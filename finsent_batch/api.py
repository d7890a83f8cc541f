"""The Python API over frames: what `score` and `query` do, without files."""

import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl

from .config import ScoreConfig, StoreConfig
from .models.directory import open_configured
from .queries import run_query
from .results import output_schema
from .runs import Job, StopRequest, no_progress
from .scoring import execute, opened_run
from .sinks import ArrowSink
from .sources import ArrowSource, choose_text_column


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
    config = ScoreConfig(input="memory", text_column=text_column, replace_columns=replace_columns)
    if model is not None:
        config = replace(config, model=replace(config.model, model=model))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(store) if store is not None else Path(scratch) / "store.duckdb"
        config = replace(config, store=StoreConfig(path=path))
        source, sink = ArrowSource(frame.to_arrow()), ArrowSink()
        column = choose_text_column(source.schema, text_column, "the frame")
        output_schema(source.schema, replace=replace_columns, where="the frame")
        spec = open_configured(config.model)
        with opened_run(config, spec, no_progress, StopRequest()) as run:
            run.jobs = [Job(source=source, sink=sink, text_column=column)]
            run.summary.output = "memory"
            execute(run)
    scored = pl.from_arrow(sink.result)
    assert isinstance(scored, pl.DataFrame)
    return scored


def query(
    name: str,
    *,
    store: Path | str | None = None,
    published: str | None = None,
    **parameters: object,
) -> pl.DataFrame:
    """Run one of the packaged queries and return its rows; see `queries.run_query`."""
    config = StoreConfig() if store is None else StoreConfig(path=Path(store))
    pairs = [(key, str(value)) for key, value in parameters.items()]
    return run_query(name, config, parameters=pairs, published=published)
