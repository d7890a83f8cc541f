"""Arrow tables as sources and sinks, and Arrow streams that DuckDB reads."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb
import pyarrow as pa

from .base import BATCH_ROWS, Source
from .columns import RowSchema, check_column_names
from .provenance import Provenance


class ArrowSource:
    """An Arrow table in memory, for the Python API."""

    def __init__(self, table: pa.Table, name: str = "memory") -> None:
        self.path = name
        self.table: str | None = None
        self.schema = RowSchema(table.schema)
        self._table = table
        check_column_names(self.schema.names, name)

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        table = self._table if columns is None else self._table.select(columns)
        yield from table.to_batches(max_chunksize=BATCH_ROWS)

    def signature(self) -> object:
        return self._table.num_rows


class ArrowSink:
    """An Arrow table in memory, for the Python API; `result` is there after `write`."""

    def __init__(self) -> None:
        self.path = "memory"
        self.table: str | None = None
        self.result: pa.Table | None = None

    def exists(self) -> bool:
        return False

    def provenance(self) -> Provenance | None:
        return None

    def check_replaceable(
        self, source: Source, *, overwrite: bool, limit: int | None = None
    ) -> None:
        return None

    def check_columns(self, schema: RowSchema) -> None:
        return None

    def check_writable(self) -> None:
        return None

    def write(
        self,
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        self.result = pa.Table.from_batches(batches, schema.arrow)


@contextmanager
def registered(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    *,
    ends_quietly: bool = False,
) -> Iterator[None]:
    """Let SQL read `batches` once under `name`, within the block.

    DuckDB turns whatever the making of a batch raises into an error of its own;
    here it comes out as what it was. With `ends_quietly` DuckDB does not learn of it, but sees
    the end of the rows, and the block's end raises it.
    """
    failures: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            failures.append(error)
            if not ends_quietly:
                raise

    connection.register(name, pa.RecordBatchReader.from_batches(schema, watched()))
    try:
        yield
        if failures:
            raise failures.pop()
    except duckdb.Error:
        if failures:
            raise failures.pop() from None
        raise
    finally:
        with suppress(duckdb.TransactionException):  # a failed one forgets the name by itself
            connection.unregister(name)
