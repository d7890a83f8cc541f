"""DuckDB's types in Parquet: what they become, and what Parquet has no room for."""

from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finsent_batch.errors import BadDataError, CannotCreateError
from finsent_batch.io.columns import RowSchema
from finsent_batch.io.duckdb_table import DuckDBSink
from finsent_batch.io.parquet import ParquetSink, parquet_batch, parquet_schema
from finsent_batch.io.provenance import Provenance
from finsent_batch.io.text.sink import TextSink


@pytest.fixture
def select():
    """Return the Arrow table of a SELECT, types kept as DuckDB hands them to a run."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET arrow_lossless_conversion = true")
        yield lambda sql: connection.sql(f"SELECT {sql}").to_arrow_table()


def converted(table):
    schema = parquet_schema(table.schema, "out.parquet")
    return pa.Table.from_batches([parquet_batch(b, schema) for b in table.to_batches()], schema)


@pytest.mark.parametrize(
    ("sql", "kind", "value"),
    [
        ("true", pa.bool_(), True),
        ("[true, NULL]", pa.list_(pa.field("l", pa.bool_())), [True, None]),
        ("{'b': false}", pa.struct([("b", pa.bool_())]), {"b": False}),
        ("MAP {'k': true}", pa.map_(pa.string(), pa.bool_()), [("k", True)]),
        ("[true, false]::BOOLEAN[2]", pa.list_(pa.field("", pa.bool_()), 2), [True, False]),
        ("(-5)::HUGEINT", pa.decimal128(38, 0), Decimal(-5)),
        ("repeat('9', 38)::HUGEINT", pa.decimal128(38, 0), Decimal("9" * 38)),
        ("7::UHUGEINT", pa.decimal128(38, 0), Decimal(7)),
        ("NULL::HUGEINT", pa.decimal128(38, 0), None),
    ],
)
def test_types_that_other_readers_would_not_know_become_their_like(select, sql, kind, value):
    table = converted(select(f"{sql} AS c"))
    assert table.schema.field("c").type == kind
    assert table["c"].to_pylist() == [value]


def test_huge_integers_of_a_slice_are_the_right_ones(select):
    table = select("i::HUGEINT AS c FROM range(10) t(i)").slice(4, 3)
    assert converted(table)["c"].to_pylist() == [4, 5, 6]


@pytest.mark.parametrize(
    "sql", ["170141183460469231731687303715884105727::HUGEINT", "(2::UHUGEINT << 126) + 5",
            "'-170141183460469231731687303715884105728'::HUGEINT"],
)  # fmt: skip
def test_integers_of_more_than_38_digits_are_refused(select, sql):
    with pytest.raises(BadDataError, match="column 'c' holds integers of more than 38 digits"):
        converted(select(f"{sql} AS c"))


@pytest.mark.parametrize(
    "sql",
    ["INTERVAL 3 MONTH", "'101'::BIT", "TIMETZ '10:00:00+02'", "[1::HUGEINT]",
     "union_value(n := 1)", "{'b': '1'::BIT}"],
)  # fmt: skip
def test_types_without_a_like_are_refused_by_name(select, sql):
    with pytest.raises(CannotCreateError, match=r"no type for the column 'c'.*\.duckdb"):
        parquet_schema(select(f"{sql} AS c").schema, "out.parquet")


def test_what_parquet_knows_stays_as_it_is(select):
    table = select("uuid() AS u, 1::UBIGINT AS n, {'a': [1]} AS s, TIMESTAMP_NS '2024-01-01' AS t")
    assert parquet_schema(table.schema, "out.parquet") == table.schema


def test_other_readers_see_booleans_and_numbers(select, tmp_path):
    table = select("true AS b, 12::HUGEINT AS h")
    sink = ParquetSink(tmp_path / "out.parquet")
    schema = RowSchema(table.schema, {"b": "BOOLEAN", "h": "HUGEINT"})
    sink.write(schema, iter(table.to_batches()), Provenance(input=None))
    assert pq.read_schema(sink.path).types == [pa.bool_(), pa.decimal128(38, 0)]
    found = duckdb.sql(f"DESCRIBE FROM '{sink.path}'").fetchall()
    assert [row[1] for row in found] == ["BOOLEAN", "DECIMAL(38,0)"]


@pytest.mark.parametrize("kind", [pa.decimal256(50, 2), pa.float16()], ids=str)
def test_types_that_csv_and_tables_do_not_know_are_refused_before_scoring(kind, tmp_path):
    schema = RowSchema(pa.schema([("id", pa.int64()), ("odd", kind)]))
    ParquetSink(tmp_path / "out.parquet").check_columns(schema)
    with duckdb.connect(":memory:") as connection:
        for sink in (
            TextSink(tmp_path / "out.csv"),
            DuckDBSink(connection, tmp_path / "out.duckdb", "t"),
        ):
            with pytest.raises(CannotCreateError, match=r"no type for the column 'odd'.*\.parquet"):
                sink.check_columns(schema)
