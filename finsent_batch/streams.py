"""Arrow batches given to SQL by name."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb
import pyarrow as pa


@contextmanager
def registered(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[None]:
    """Let SQL read `batches` once under `name`, within the block.

    DuckDB turns whatever the making of a batch raises into an error of its own;
    here it comes out as what it was.
    """
    failures: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            failures.append(error)
            raise

    connection.register(name, pa.RecordBatchReader.from_batches(schema, watched()))
    try:
        yield
    except duckdb.Error:
        if failures:
            raise failures.pop() from None
        raise
    finally:
        with suppress(duckdb.TransactionException):  # a failed one forgets the name by itself
            connection.unregister(name)
