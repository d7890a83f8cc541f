"""What an output that inputs share does with columns that are not its own."""

from ..config import ScoreConfig
from ..io.append.column_changes import ColumnPolicy
from ..io.append.day_files import DAY
from ..io.append.day_sink import DayPartitionsSink
from ..io.append.delta_sink import DeltaSink
from ..io.base import Sink, Source
from ..io.duckdb_append import AppendingSink
from ..io.partitions import PartitionedSource
from ..io.times.reading import UTC
from ..store.store import Store


def with_policy(
    store: Store, sink: Sink, source: Source, config: ScoreConfig, date_column: str | None
) -> Sink:
    """Tell an output that inputs share what becomes of columns that are not its own.

    `date_column` is the source's.
    """
    if isinstance(sink, DayPartitionsSink):
        sink.folders_name_day = isinstance(source, PartitionedSource) and DAY in source.values
    if isinstance(sink, AppendingSink | DayPartitionsSink | DeltaSink):
        zone, times = _times(store, sink, config, date_column)
        sink.policy = ColumnPolicy(
            new=config.on_new_columns,
            missing=config.on_missing_columns,
            types=config.on_changed_types,
            zone=zone,
            times=times,
        )
    return sink


def _times(
    store: Store,
    sink: AppendingSink | DayPartitionsSink | DeltaSink,
    config: ScoreConfig,
    date_column: str | None,
) -> tuple[str | None, frozenset[str]]:
    """Return a zone other than UTC of the run, or else of what is in the output; None if none is.

    And the columns of the times of both. Each row's time is read from the column and in the zone
    of the run that published it.
    """
    known = store.query(
        "SELECT timezone, date_column FROM run_files WHERE output = ? "
        "AND lower(output_table) IS NOT DISTINCT FROM lower(?) ORDER BY number DESC",
        [sink.path, sink.table],
    )
    zones = [config.timezone, *(zone for zone, _ in known)]
    columns = [date_column, *(column for _, column in known)]
    return (
        next((zone for zone in zones if zone not in (None, UTC)), None),
        frozenset(column.casefold() for column in columns if column is not None),
    )
