"""The rows of an input by days: which day a row is of, and each day's rows in a file of its own."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..arrow import registered
from ..base import BATCH_ROWS
from ..columns import SCORED_AT
from ..parquet import ROW_GROUP
from ..provenance import Provenance
from ..times.reading import UTC, TimeReading, with_time_sql
from .day_files import DAY, NO_DAY

FILES_AT_ONCE: Final = 100
"""Days whose files are open together; the rows of others wait in one more file."""
_WAITING_ROWS: Final = 4 * BATCH_ROWS
"""Rows in memory before they are written, so that a day's row groups are not tiny."""
_YEARS = "year(_t_time) BETWEEN 1 AND 9999"  # what readers take for the date in a folder's name
OpenFile = Callable[[str], AbstractContextManager[pq.ParquetWriter]]


class DayReader:
    """Tells the day of each row as queries do: in UTC, by the time column that was settled."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, schema: pa.Schema, provenance: Provenance
    ) -> None:
        self._column = provenance.date_column or SCORED_AT
        self._reading = TimeReading(
            date_format=provenance.date_format, timezone=provenance.timezone or UTC
        )
        self._connection = connection
        kind = schema.field(self._column).type
        self._schema = pa.schema([("number", pa.int64()), ("value", kind)])
        with registered(connection, "day_values", self._schema, iter(())):
            described = connection.execute("DESCRIBE SELECT value FROM day_values").fetchall()
        timed = with_time_sql("day_values", "value", described[0][1], self._reading)
        day = f"CASE WHEN {_YEARS} THEN CAST(CAST(_t_time AS DATE) AS VARCHAR) END"
        self._sql = f"SELECT coalesce({day}, '{NO_DAY}') AS day FROM ({timed}) ORDER BY number"

    def days(self, batch: pa.RecordBatch) -> pa.Array:
        """Return each row's day such as `2014-01-06`, or `NO_DAY` (string, one for each row)."""
        values = batch.column(self._column)
        numbers = pa.array(range(len(values)), pa.int64())
        rows = pa.RecordBatch.from_arrays([numbers, values], schema=self._schema)
        with registered(self._connection, "day_values", self._schema, iter((rows,))):
            found = self._connection.sql(self._sql).to_arrow_table().column("day")
        return found.combine_chunks().cast(pa.string())


class _Files:
    """The files of some days, each opened with its first row."""

    def __init__(self, opened: OpenFile, stack: ExitStack) -> None:
        self._opened, self._stack = opened, stack
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._waiting: dict[str, list[pa.RecordBatch]] = {}
        self._rows = 0

    def takes(self, day: str) -> bool:
        """Whether the rows of a day can be added."""
        return day in self._waiting or len(self._waiting) < FILES_AT_ONCE

    def add(self, day: str, rows: pa.RecordBatch) -> None:
        """Add rows to the end of a day's file."""
        self._waiting.setdefault(day, []).append(rows)
        self._rows += rows.num_rows
        if self._rows >= _WAITING_ROWS:
            self.write()

    def write(self) -> None:
        """Write the rows that are still in memory."""
        for day, batches in self._waiting.items():
            if not batches:
                continue
            if day not in self._writers:
                self._writers[day] = self._stack.enter_context(self._opened(day))
            self._writers[day].write_table(pa.Table.from_batches(batches), row_group_size=ROW_GROUP)
            batches.clear()
        self._rows = 0


def write_days(
    batches: Iterator[tuple[pa.RecordBatch, pa.Array]],
    schema: pa.Schema,
    opened: OpenFile,
    spool: Path,
) -> None:
    """Write the rows of each day, in their order, to the file that `opened` gives for it.

    `batches` come with the day of each row; `schema` is theirs. Rows of more than `FILES_AT_ONCE`
    days wait in `spool`, by which neither open files nor memory grow with the days.
    """
    left: set[str] = set()
    with ExitStack() as stack, ExitStack() as spooling:
        files, rest = _Files(opened, stack), None
        for batch, days in batches:
            for day, rows in _by_day(batch, days):
                if files.takes(day):
                    files.add(day, rows)
                    continue
                left.add(day)
                if rest is None:
                    rest = spooling.enter_context(_spool(spool, schema))
                rest.write_batch(_with_day(rows, day))
        files.write()
    while left:
        some = sorted(left)[:FILES_AT_ONCE]
        left.difference_update(some)
        _write_some(set(some), opened, spool)


def _by_day(batch: pa.RecordBatch, days: pa.Array) -> Iterator[tuple[str, pa.RecordBatch]]:
    different = pc.unique(days).to_pylist()
    for day in different:
        yield day, batch if len(different) == 1 else batch.filter(pc.equal(days, day))


def _spool(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(file, schema.append(pa.field(DAY, pa.string())), compression="zstd")


def _with_day(rows: pa.RecordBatch, day: str) -> pa.RecordBatch:
    return rows.append_column(pa.field(DAY, pa.string()), pa.array([day] * rows.num_rows))


def _write_some(some: set[str], opened: OpenFile, spool: Path) -> None:
    """Write the files of these days from what waits in the spool."""
    first, last = min(some), max(some)
    with ExitStack() as stack, pq.ParquetFile(spool) as parquet:
        files = _Files(opened, stack)
        for group in range(parquet.num_row_groups):
            column = parquet.metadata.num_columns - 1
            seen = parquet.metadata.row_group(group).column(column).statistics
            if seen is not None and (seen.max < first or seen.min > last):
                continue
            for batch in parquet.iter_batches(row_groups=[group]):
                rows = batch.drop_columns([DAY])
                for day, part in _by_day(rows, batch.column(DAY)):
                    if day in some:
                        files.add(day, part)
        files.write()
