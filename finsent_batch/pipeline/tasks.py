"""Open and check each input and output before any scoring starts."""

import logging
import shlex
from dataclasses import replace
from pathlib import PurePath

from ..config import ScoreConfig
from ..errors import FinsentError, TryAgainError
from ..io.append.day_sink import DayPartitionsSink
from ..io.append.delta_sink import DeltaSink
from ..io.base import Sink, Source
from ..io.columns import (
    NewsColumns,
    choose_date_column,
    choose_source_column,
    choose_text_column,
)
from ..io.csv_reader import stage_csv
from ..io.duckdb_append import AppendingSink
from ..io.duckdb_table import DuckDBSink, DuckDBSource
from ..io.lake.tables import LakeTable, lake_table, stage_lake_table
from ..io.objects.sink import ObjectSink
from ..io.pairs import FilePair
from ..io.parquet import ParquetSink, ParquetSource
from ..io.partitions import PartitionedSource, partition_values
from ..io.provenance import FileProvenance
from ..io.result_columns import output_schema
from ..io.text.encoding import EmptyFileError
from ..io.text.jsonl import stage_jsonl
from ..io.text.sink import TextSink
from ..io.text.staged import StagedText
from ..io.times.reading import UTC, TimeReading
from ..io.whole.standard_streams import StandardOutput
from ..io.whole.watched import Watched, file_state
from ..store.file_provenance import StoredProvenance
from ..store.store import Store
from .policy import with_policy
from .run import ScoreTask

logger = logging.getLogger(__name__)


def open_source(
    store: Store, pair: FilePair, config: ScoreConfig
) -> tuple[Source, StagedText | None]:
    """Open one input; what has to be staged is, and what was set aside is returned beside it."""
    if pair.table is not None:
        source = DuckDBSource(store.connection, pair.input, pair.table, limit=config.limit)
        return source, None
    lake = lake_table(pair.input)
    if lake is not None:
        return _open_lake_table(store, lake, pair, config)
    kind = pair.input_format
    if kind == "parquet":
        return ParquetSource(pair.input, identity=pair.address, limit=config.limit), None
    folder, encoding, bad = store.work_folder(), config.encoding, config.max_bad_rows
    with Watched(pair.input) as origin:
        if kind == "jsonl":
            staged = stage_jsonl(pair.input, folder, encoding=encoding, max_bad_rows=bad)
        else:
            staged = stage_csv(
                pair.input,
                folder,
                encoding=encoding,
                max_bad_rows=bad,
                delimiter="\t" if kind == "tsv" else None,
                escape=config.escape,
                quote=config.quote,
            )
    source_file = ParquetSource(staged.file, identity=pair.named, limit=config.limit, origin=origin)
    return source_file, staged


def _open_lake_table(
    store: Store, table: LakeTable, pair: FilePair, config: ScoreConfig
) -> tuple[Source, StagedText]:
    folder = store.work_folder()
    file = folder / f"{len(list(folder.iterdir()))}.parquet"
    with Watched(table.log) as origin:
        notes = stage_lake_table(table, file)
    source = ParquetSource(file, identity=pair.named, limit=config.limit, origin=origin)
    return source, StagedText(file=file, bad_rows=(), notes=notes)


def input_state(pair: FilePair) -> str | None:
    """Return what an input is on disk; None where that does not say that its rows are the same."""
    elsewhere = pair.table is not None or pair.address is not None or pair.to_standard_output
    return None if elsewhere else file_state(pair.input)


def choose_columns(source: Source, config: ScoreConfig, named: str) -> NewsColumns:
    """Choose an input's columns of text and time.

    Raises:
        BadDataError: there is no such column, or the text column holds no text.
    """
    text = choose_text_column(source.schema, config.text_column, named, binary=True)
    date = choose_date_column(source.schema.names, config.date_column, named)
    times = TimeReading(date_format=config.date_format, timezone=config.timezone or UTC)
    return NewsColumns(text_column=text, date_column=date, times=times)


def open_sink(store: Store, pair: FilePair) -> Sink:
    """Return the sink of one output; nothing is created yet."""
    if pair.partition_by is not None:
        return DayPartitionsSink(store.connection, pair.output)
    if pair.output_format == "delta":
        return DeltaSink(pair.output)
    if pair.output_table is not None:
        sink = AppendingSink if pair.append else DuckDBSink
        return sink(store.connection, pair.output, pair.output_table, new_schema=pair.output_schema)
    if pair.to_standard_output:
        return StandardOutput(open_sink(store, replace(pair, to_standard_output=False)))
    if pair.output_address is not None:
        return ObjectSink(_file_sink(pair, None), pair.output, pair.output_address)
    return _file_sink(pair, StoredProvenance(store))


def _file_sink(pair: FilePair, noted: FileProvenance | None) -> ParquetSink | TextSink:
    if pair.output_format == "parquet":
        return ParquetSink(pair.output)
    return TextSink(pair.output, noted, format=pair.output_format)


def _with_partitions(pair: FilePair, source: Source) -> tuple[Source, list[str]]:
    """Add the columns that only the folders of a file name, and say which cannot be added."""
    values = partition_values(PurePath(pair.named).parts[:-1]) if pair.table is None else {}
    if not values:
        return source, []
    whole = PartitionedSource(source, values)
    return whole, [
        f"the folders' {name}=… is left out: the output has a column of that name, "
        "which holds what the model says"
        for name in whole.left_out
    ]


def check_target(sink: Sink, source: Source, config: ScoreConfig) -> None:
    """Refuse to replace what this program did not make from this same input, or a whole by a part.

    Raises:
        CannotCreateError: something else stands there, the place is not writable, or
            the output's format has no room for a column.
        TryAgainError: another process has it open, so that it can be neither checked nor
            written now.
    """
    sink.check_replaceable(source, overwrite=config.overwrite, limit=config.limit)
    confident = config.min_confidence is not None
    sink.check_columns(
        output_schema(source.schema, replace=True, where=source.path, confident=confident)
    )
    sink.check_writable()


def open_tasks(
    store: Store, pairs: list[FilePair], config: ScoreConfig, *, inputs: int, empty: list[str]
) -> list[ScoreTask]:
    """Open every input and check every output: what a run and a dry run do before anything else.

    Of several `inputs`, text files with nothing in them have no rows and no output, and are added
    to `empty`.

    Raises:
        EmptyFileError: nothing is in any of them, or in one that had rows when it was published.
        BadDataError, MissingInputError: an input cannot be read, or lacks its column.
        CannotCreateError: an output may not be replaced, or cannot be written.
    """
    tasks = []
    for pair in pairs:
        try:
            tasks.append(_open_task(store, pair, config))
        except EmptyFileError as error:
            empty.append(pair.named)
            if len(empty) == inputs:
                raise
            _check_never_published(store, pair, error)
    return tasks


def _check_never_published(store: Store, pair: FilePair, error: EmptyFileError) -> None:
    """Refuse an empty file whose earlier rows are published and would stay so."""
    path = pair.address or str(pair.input.resolve())
    if store.query("FROM run_files WHERE input = ? AND forgotten_at IS NULL", [path]):
        raise EmptyFileError(
            f"{error}, and what was published of it before still stands: restore the file, or run "
            f"finsent-batch store forget {shlex.quote(pair.named)}"
        ) from None


def _open_task(store: Store, pair: FilePair, config: ScoreConfig) -> ScoreTask:
    state = input_state(pair)
    try:
        source, staged = open_source(store, pair, config)
    except FinsentError as error:
        error.args = (_by_its_name(str(error), pair),)
        raise
    bad_rows = staged.bad_rows if staged else ()
    source, warnings = _with_partitions(pair, source)
    warnings += [_by_its_name(note, pair) for note in staged.notes] if staged else []
    if bad_rows:
        warnings.append(
            f"{pair.named}: {len(bad_rows)} rows that do not parse are in quarantine, "
            f"not in the output; the first is line {bad_rows[0].line}"
        )
    date = choose_date_column(source.schema.names, config.date_column, pair.named)
    sink = with_policy(store, open_sink(store, pair), source, config, date)
    task = make_task(source, sink, config, pair.named)
    return replace(task, bad_rows=bad_rows, warnings=tuple(warnings), input_state=state)


def _by_its_name(message: str, pair: FilePair) -> str:
    """Return a message about a copied input with the name that the user gave it."""
    return message.replace(str(pair.input), pair.named) if pair.address else message


def make_task(source: Source, sink: Sink, config: ScoreConfig, named: str) -> ScoreTask:
    """Choose an input's columns and check that its output can be written.

    An output that another process holds now is waited for once all is scored.

    Raises:
        BadDataError: there is no such column, it holds no text, or a result column is there.
        CannotCreateError: the output may not be replaced, or cannot be written.
    """
    columns = choose_columns(source, config, named)
    output_schema(source.schema, replace=config.replace_columns, where=named)
    try:
        check_target(sink, source, config)
    except TryAgainError as error:
        logger.warning("scoring continues, but the output is in use: %s", error)
    return ScoreTask(
        source=source,
        sink=sink,
        columns=columns,
        source_column=choose_source_column(source.schema.names, config.source_column, named),
    )
