"""Batches read by SQL: whatever their making raises is raised as it is."""

import duckdb
import pyarrow as pa
import pytest

from finsent_batch.errors import BadDataError
from finsent_batch.io.arrow import registered

SCHEMA = pa.schema([("i", pa.int64())])


@pytest.fixture
def connection():
    with duckdb.connect(":memory:") as opened:
        yield opened


def batches(error=None):
    yield pa.RecordBatch.from_pylist([{"i": 1}], schema=SCHEMA)
    if error:
        raise error


def test_the_rows_are_there_within_the_block_only(connection):
    with registered(connection, "rows", SCHEMA, batches()):
        assert connection.execute("FROM rows").fetchall() == [(1,)]
    with pytest.raises(duckdb.CatalogException):
        connection.execute("FROM rows")


@pytest.mark.parametrize("error", [BadDataError("torn"), KeyError("bug"), KeyboardInterrupt()])
def test_what_a_batch_raises_comes_out_unchanged(connection, error):
    with (
        pytest.raises(type(error)) as caught,
        registered(connection, "rows", SCHEMA, batches(error)),
    ):
        connection.execute("FROM rows").fetchall()
    assert caught.value is error


def test_errors_of_the_sql_itself_stay_duckdb_errors(connection):
    with (
        pytest.raises(duckdb.ConversionException),
        registered(connection, "rows", SCHEMA, batches()),
    ):
        connection.execute("SELECT CAST('x' || i AS INT) FROM rows").fetchall()
