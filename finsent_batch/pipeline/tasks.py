"""A pair's two ends opened: the source to read and the sink to write, checked before any work."""

import logging

from ..config import ScoreConfig
from ..errors import CannotCreateError, TryAgainError
from ..io.base import Sink, Source
from ..io.columns import choose_text_column
from ..io.csv_reader import BadRow, stage_csv
from ..io.csv_sink import CsvSink
from ..io.duckdb_append import AppendingSink
from ..io.duckdb_table import DuckDBSink, DuckDBSource
from ..io.inputs import Pair
from ..io.parquet import ParquetSink, ParquetSource
from ..io.paths import suffix_of
from ..io.result_columns import output_schema
from ..store.file_provenance import FileMarks
from ..store.store import Store
from .run import Job, Run

logger = logging.getLogger(__name__)


def open_source(store: Store, pair: Pair, config: ScoreConfig) -> tuple[Source, tuple[BadRow, ...]]:
    """Open one input; CSV is parsed here, and its bad rows are returned beside it."""
    if pair.table is not None:
        source = DuckDBSource(store.connection, pair.input, pair.table, limit=config.limit)
        return source, ()
    if suffix_of(pair.input) == ".parquet":
        return ParquetSource(pair.input, identity=pair.address, limit=config.limit), ()
    staged = stage_csv(
        pair.input,
        store.work_folder(),
        encoding=config.encoding,
        max_bad_rows=config.max_bad_rows,
    )
    source_file = ParquetSource(staged.file, identity=pair.named, limit=config.limit)
    return source_file, staged.bad_rows


def open_sink(store: Store, pair: Pair) -> Sink:
    """Return the sink of one output; nothing is created yet."""
    if pair.output_table is not None:
        sink = AppendingSink if pair.append else DuckDBSink
        return sink(store.connection, pair.output, pair.output_table)
    if suffix_of(pair.output) == ".parquet":
        return ParquetSink(pair.output)
    return CsvSink(pair.output, FileMarks(store))


def check_target(sink: Sink, source: Source, *, overwrite: bool) -> None:
    """Refuse to replace what this program did not make from this same input.

    Raises:
        CannotCreateError: something else stands there, the place is not writable, or
            the output's format has no room for a column.
        TryAgainError: another process has it open, so that it can be neither checked nor
            written now.
    """
    if isinstance(sink, AppendingSink):
        sink.check_appendable()
    sink.check_columns(source.schema, source.types)
    if not isinstance(sink, AppendingSink) and not overwrite and sink.exists():
        mark = sink.mark()
        if mark is None or (mark["input"], mark["input_table"]) != (source.path, source.table):
            what = f"table {sink.table!r} in {sink.path}" if sink.table else sink.path
            made_from = (
                " (collects inputs with --append)"
                if mark and mark.get("append")
                else f" (made from {mark['input']})"
                if mark
                else ""
            )
            raise CannotCreateError(
                f"{what} exists{made_from} and is no output of this input: "
                "name another with -o, or replace it with --overwrite"
            )
    sink.check_writable()


def open_jobs(run: Run, pairs: list[Pair]) -> list[Job]:
    """Open every source and check every target, before any model is loaded."""
    jobs = []
    for pair in pairs:
        source, bad_rows = open_source(run.store, pair, run.config)
        column = choose_text_column(source.schema, run.config.text_column, pair.named)
        output_schema(source.schema, replace=run.config.replace_columns, where=pair.named)
        sink = open_sink(run.store, pair)
        try:
            check_target(sink, source, overwrite=run.config.overwrite)
        except TryAgainError as error:
            logger.warning("scoring goes on, but the output is not free: %s", error)
        jobs.append(Job(source=source, sink=sink, text_column=column, bad_rows=bad_rows))
        if bad_rows:
            run.summary.warnings.append(
                f"{pair.named}: {len(bad_rows)} rows that do not parse are in quarantine, "
                f"not in the output; the first is line {bad_rows[0].line}"
            )
    return jobs
