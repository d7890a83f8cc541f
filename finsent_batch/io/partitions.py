"""Folders called `key=value`: columns that only the path of a file holds."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from urllib.parse import unquote

import pyarrow as pa

from .base import Source
from .columns import DATE_COLUMNS, RowSchema, usual_columns
from .duckdb_append import INPUT_COLUMN
from .result_columns import CONFIDENT_COLUMN, RESULT_SCHEMA

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What Hive and Spark call the folder of the rows without a value."""
_TAKEN = {*RESULT_SCHEMA.names, CONFIDENT_COLUMN, INPUT_COLUMN}


def partition_values(folders: Iterable[str]) -> dict[str, str | None]:
    """Return the columns that folders name, outermost first; the innermost of a name counts."""
    values: dict[str, str | None] = {}
    for folder in folders:
        key, separator, value = folder.partition("=")
        if separator and key.strip():
            values[unquote(key)] = None if value == NO_VALUE else unquote(value)
    return values


def _day_of(values: dict[str, str | None]) -> dict[str, str | None]:
    """Return the column `date` that `year=…/month=…/day=…` makes; nothing without the three."""
    named = {name.casefold(): value for name, value in values.items()}
    if not named.keys() >= {"year", "month", "day"}:
        return {}
    with suppress(TypeError, ValueError):  # a folder of rows without a value, or no such day
        return {"date": str(date(*(int(named[part] or "") for part in ("year", "month", "day"))))}
    return {"date": None}


class PartitionedSource:
    """A source with the columns that only its folders name, as text, after its own.

    Where neither has a column that says when the news was, `year`, `month` and `day` also make one.
    """

    def __init__(self, source: Source, values: dict[str, str | None]) -> None:
        own = {name.casefold() for name in source.schema.names}
        self.path = source.path
        self.table = source.table
        self.values = {
            name: value for name, value in values.items() if name.casefold() not in own | _TAKEN
        }
        self.left_out = tuple(
            name for name in values if name.casefold() in _TAKEN and name.casefold() not in own
        )
        """Keys that are called as columns of the output are."""
        if not usual_columns([*source.schema.names, *self.values], DATE_COLUMNS):
            self.values |= _day_of(self.values)
        fields = [pa.field(name, pa.string()) for name in self.values]
        own_columns = source.schema.arrow
        self.schema = RowSchema(
            pa.schema([*own_columns, *fields], own_columns.metadata), source.schema.duckdb_types
        )
        self._source = source

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, every column or the named ones."""
        wanted = self.schema.names if columns is None else columns
        own = [name for name in wanted if name not in self.values]
        read = own or self._source.schema.names[:1]  # some column tells how many rows there are
        for batch in self._source.batches(read if columns is not None else None):
            arrays = [
                pa.array([self.values[name]] * batch.num_rows, pa.string())
                if name in self.values
                else batch.column(name)
                for name in wanted
            ]
            schema = pa.schema([self.schema.arrow.field(name) for name in wanted])
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def signature(self) -> object:
        """Return a value that changes when the rows may have changed."""
        return self._source.signature()
