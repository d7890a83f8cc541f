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


def with_policy(store: Store, sink: Sink, source: Source, config: ScoreConfig) -> Sink:
    """Tell an output that inputs share what becomes of columns that are not its own."""
    if isinstance(sink, DayPartitionsSink):
        sink.folders_name_day = isinstance(source, PartitionedSource) and DAY in source.values
    if isinstance(sink, AppendingSink | DayPartitionsSink | DeltaSink):
        sink.policy = ColumnPolicy(
            new=config.on_new_columns,
            missing=config.on_missing_columns,
            types=config.on_changed_types,
            zone=_zone(store, sink, config),
        )
    return sink


def _zone(
    store: Store, sink: AppendingSink | DayPartitionsSink | DeltaSink, config: ScoreConfig
) -> str | None:
    """Return a zone other than UTC of the run, or else of what is in the output; None if none is.

    Each row's time is read in the zone of the run that published it.
    """
    if config.timezone not in (None, UTC):
        return config.timezone
    known = store.query(
        "SELECT timezone FROM run_files WHERE output = ? "
        "AND output_table IS NOT DISTINCT FROM ? AND timezone <> ? ORDER BY number DESC LIMIT 1",
        [sink.path, sink.table, UTC],
    )
    return known[0][0] if known else None
