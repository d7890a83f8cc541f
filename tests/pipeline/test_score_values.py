"""`score` end to end: original columns keep their names, types, values and order."""

import csv
from decimal import Decimal

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finsent_batch.io.result_columns import RESULT_SCHEMA

EVIL = 'a"; drop table x'


@pytest.fixture
def database(tmp_path):
    """Return a function that runs SQL in a DuckDB file and gives its rows."""

    def call(sql, file="d.duckdb"):
        with duckdb.connect(str(tmp_path / file)) as connection:
            return connection.execute(sql).fetchall()

    return call


def all_kinds():
    structs = pa.list_(pa.struct([("x", pa.int8()), ("y", pa.list_(pa.string()))]))
    return pa.table(
        {
            "nested": pa.array([[{"x": 1, "y": ["z"]}], [], None], structs),
            "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int32())),
            "fixed": pa.array([[1, 2], [3, 4], None], pa.list_(pa.int8(), 2)),
            "dictionary": pa.array(["b", "a", "b"]).dictionary_encode(),
            "decimal": pa.array([Decimal("1.50"), Decimal("-0.01"), None], pa.decimal128(9, 2)),
            "wide": pa.array([Decimal("9" * 50), None, Decimal(0)], pa.decimal256(60, 0)),
            "headline": pa.array(["Oil falls", "Nokia posts profit", ""], pa.large_string()),
            "ns": pa.array([1, 2, None], pa.timestamp("ns")),
            "zone": pa.array([1, 2**60, None], pa.timestamp("ns", "America/New_York")),
            "offset": pa.array([1, 2, None], pa.timestamp("ms", "+05:30")),
            "day": pa.array([0, -1, None], pa.date32()),
            "time": pa.array([0, 1, None], pa.time64("ns")),
            "duration": pa.array([0, 1, None], pa.duration("us")),
            "half": pa.array(np.array([1, 2, 3], np.float16)),
            "u64": pa.array([2**64 - 1, 0, None], pa.uint64()),
            "bytes": pa.array([b"\xff", b"", None], pa.large_binary()),
            "fixed bytes": pa.array([b"ab", b"cd", None], pa.binary(2)),
            "bool": pa.array([True, None, False]),
            "nothing": pa.nulls(3),
            "view": pa.array(["a", "", None], pa.string_view()),
            "uuid": pa.array([b"0123456789abcdef"] * 3, pa.uuid()),
        }
    ).replace_schema_metadata({"pandas": "{}", "mine": "kept"})


def test_parquet_to_parquet_keeps_every_type_to_the_letter(score, tmp_path):
    pq.write_table(all_kinds(), tmp_path / "in.parquet")
    before = pq.read_table(tmp_path / "in.parquet")
    score("in.parquet", "-o", "out.parquet", "--no-default-gates")
    after = pq.read_table(tmp_path / "out.parquet")
    assert after.column_names == before.column_names + RESULT_SCHEMA.names
    for number, field in enumerate(before.schema):
        assert after.schema.field(number).equals(field, check_metadata=True), field
        assert after.column(number).to_pylist() == before.column(number).to_pylist(), field
    assert after.schema.metadata[b"mine"] == b"kept"


def test_categories_that_differ_by_row_group_keep_their_values(score, tmp_path):
    words = ["alpha", "beta", "gamma", None]
    frame = pl.DataFrame(
        {
            "headline": [f"Oil falls {i % 50}" for i in range(4_000)],
            "sector": pl.Series([words[i // 1_000] for i in range(4_000)], dtype=pl.Categorical),
            "side": pl.Series(["buy", "sell"] * 2_000, dtype=pl.Enum(["sell", "buy", "hold"])),
        }
    )
    frame.write_parquet(tmp_path / "in.parquet", row_group_size=700)
    score("in.parquet")
    after = pl.read_parquet(tmp_path / "in.scored.parquet").select("headline", "sector", "side")
    assert after.dtypes == frame.dtypes
    assert after.equals(frame)


def test_parquet_to_a_table_keeps_values(score, database, tmp_path):
    kinds = all_kinds().drop_columns(["wide", "half"])
    pq.write_table(kinds, tmp_path / "in.parquet")
    score("in.parquet", "-o", "d.duckdb", "--no-default-gates")
    found = dict(row[:2] for row in database("DESCRIBE in_scored"))
    assert list(found)[: kinds.num_columns] == kinds.column_names
    assert found["decimal"] == "DECIMAL(9,2)"
    assert found["nested"] == "STRUCT(x TINYINT, y VARCHAR[])[]"
    assert found["ns"] == "TIMESTAMP_NS"
    assert found["uuid"] == "UUID"
    rows = database('SELECT "nested", "u64", epoch_ns("zone"), "ns"::VARCHAR FROM in_scored')
    assert rows[0] == ([{"x": 1, "y": ["z"]}], 2**64 - 1, 1, "1970-01-01 00:00:00.000000001")
    assert rows[1][2] == 2**60


def test_a_table_to_parquet_is_what_other_readers_expect(score, database, tmp_path):
    database("""CREATE TABLE t AS SELECT 'Oil falls' AS headline, true AS b, 5::HUGEINT AS h,
        uuid() AS u, 'x'::ENUM('x', 'y') AS e, [true] AS l, DATE '2024-02-29' AS d""")
    score("d.duckdb", "--table", "t", "-o", "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert [str(schema.field(n).type) for n in ("b", "h", "d")] == (
        ["bool", "decimal128(38, 0)", "date32[day]"]
    )
    frame = pl.read_parquet(tmp_path / "out.parquet", columns=["b", "h", "e", "l"])
    assert frame.rows() == [(True, Decimal(5), "x", [True])]
    assert (
        database("SELECT u FROM t")
        == duckdb.sql(f"SELECT u FROM '{tmp_path}/out.parquet'").fetchall()
    )


def test_replaced_columns_get_the_types_of_the_results(score, database):
    database("""CREATE TABLE t AS SELECT 'Oil falls' AS headline,
        'good'::ENUM('good', 'bad') AS Sentiment, 'x'::ENUM('x', 'y') AS e""")
    score("d.duckdb", "--table", "t", "--replace-columns")
    found = dict(row[:2] for row in database("DESCRIBE t_scored"))
    assert found["e"] == "ENUM('x', 'y')"
    assert found["sentiment"] == "VARCHAR"
    assert list(found) == ["headline", "e", *RESULT_SCHEMA.names]


def test_csv_to_csv_keeps_every_field(score, tmp_path):
    text = 'id,headline,,note\n007,"Oil, ""black"" gold",x,\n1e3," spaced ",,""\n'
    text += ',"two\nlines",\u20ac,NULL\n'
    (tmp_path / "in.csv").write_text(text, "utf-8")
    score("in.csv", "-o", "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        after = [row[:4] for row in csv.reader(stream)]
    assert after == list(csv.reader(text.splitlines(keepends=True)))
    line = (tmp_path / "out.csv").read_text("utf-8").splitlines()[2]
    assert line.startswith('1e3, spaced ,,"",')


def test_latin_1_comes_out_as_utf_8(score, tmp_path):
    (tmp_path / "in.csv").write_bytes(b"headline\nS\xe4hk\xf6 falls\n")
    score("in.csv", "--encoding", "latin-1", "-o", "out.csv")
    assert "\nS\u00e4hk\u00f6 falls," in (tmp_path / "out.csv").read_text("utf-8")


def test_names_that_look_like_sql_are_names(score, database, tmp_path):
    database("""CREATE TABLE x (i INT);
        CREATE TABLE "a""; drop table x" ("a""; drop table x" VARCHAR, "select" INT);
        INSERT INTO "a""; drop table x" VALUES ('Oil falls', 1)""")
    options = ("--table", EVIL, "--text-column", EVIL)
    score("d.duckdb", *options)
    score("d.duckdb", *options, "--output-table", "'; drop table x; --")
    score("d.duckdb", *options, "-o", f"{EVIL}.parquet")
    score(f"{EVIL}.parquet", "--text-column", EVIL, "-o", "it's.csv", "--replace-columns")
    assert {row[0] for row in database("SHOW TABLES")} == (
        {"x", EVIL, f"{EVIL}_scored", "'; drop table x; --"}
    )
    for table in (f"{EVIL}_scored", "'; drop table x; --"):
        quoted = '"' + table.replace('"', '""') + '"'
        assert database(f"SELECT sentiment IS NULL, * FROM {quoted}")[0][:3] == (
            False,
            "Oil falls",
            1,
        )
    assert next(csv.reader((tmp_path / "it's.csv").open()))[:2] == [EVIL, "select"]


def test_invalid_utf_8_is_marked_and_kept_in_quarantine(score, database, tmp_path):
    offsets = pa.py_buffer(np.array([0, 9, 11, 20], np.int32).tobytes())
    text = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"Oil falls\xff\xfeOil falls"))
    pq.write_table(pa.table({"id": [1, 2, 3], "headline": text}), tmp_path / "in.parquet")
    summary = score("in.parquet")
    assert summary["rows"]["invalid"] == 1
    found = pq.read_table(tmp_path / "in.scored.parquet")
    assert found["score_status"].to_pylist() == ["scored", "invalid", "scored"]
    assert found["headline"].cast(pa.binary()).to_pylist()[1] == b"\xff\xfe"
    assert found["sentiment"][1].as_py() is None
    rows = database("SELECT run_id, input, row_number, reason FROM quarantine", "finsent.duckdb")
    reason = "the text is not valid UTF-8"
    assert rows == [(summary["run_id"], f"{tmp_path}/in.parquet", 2, reason)]


def test_bad_rows_of_a_csv_file_are_in_quarantine_with_their_line(score, database, tmp_path):
    (tmp_path / "in.csv").write_text('id,headline\n1,"Oil\nfalls"\n2\n\n3,Bank cuts jobs\n4,5,6\n')
    summary = score("in.csv", "--max-bad-rows", 2)
    assert summary["rows"]["read"] == 2
    assert "2 rows that do not parse are in quarantine" in summary["warnings"][0]
    assert "the first is line 4" in summary["warnings"][0]
    rows = database("SELECT line_number, reason, trim(content) FROM quarantine", "finsent.duckdb")
    assert rows == [(4, "1 fields instead of 2", "2"), (7, "3 fields instead of 2", "4,5,6")]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "duckdb"])
def test_a_file_of_no_rows_gives_an_output_of_no_rows(score, database, tmp_path, suffix):
    empty = pa.table(
        {"headline": pa.array([], pa.string()), "n": pa.array([], pa.list_(pa.int8()))}
    )
    pq.write_table(empty, tmp_path / "in.parquet")
    summary = score("in.parquet", "-o", f"out.{suffix}", "--gate", "rows>=0")
    assert set(summary["rows"].values()) == {0}
    names = ["headline", "n", *RESULT_SCHEMA.names]
    if suffix == "parquet":
        assert pq.read_schema(tmp_path / "out.parquet").names == names
    elif suffix == "csv":
        assert (tmp_path / "out.csv").read_text() == ",".join(names) + "\n"
    else:
        assert [row[0] for row in database("DESCRIBE in_scored", "out.duckdb")] == names
