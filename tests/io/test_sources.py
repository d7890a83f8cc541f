"""Sources: the same rows in the same order, as often as they are read."""

import subprocess
import sys

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finsent_batch.errors import BadDataError, MissingInputError, TryAgainError, UsageError
from finsent_batch.io.arrow import ArrowSource
from finsent_batch.io.base import text_batches
from finsent_batch.io.columns import RowSchema, check_column_names, choose_text_column
from finsent_batch.io.duckdb_files import attached, table_names
from finsent_batch.io.duckdb_table import DuckDBSource
from finsent_batch.io.parquet import ParquetSource


@pytest.fixture
def connection():
    with duckdb.connect(":memory:") as opened:
        opened.execute("ATTACH ':memory:' AS plan")
        yield opened


@pytest.fixture
def database(tmp_path):
    file = tmp_path / "feed.duckdb"
    with duckdb.connect(str(file)) as opened:
        opened.execute(
            "CREATE TABLE news AS SELECT i AS id, 'row ' || i AS headline FROM range(9) t(i)"
        )
        opened.execute("CREATE VIEW latest AS FROM news ORDER BY random()")
    return file


@pytest.fixture
def parquet(tmp_path):
    file = tmp_path / "news.parquet"
    pq.write_table(pa.table({"id": range(9), "headline": [f"row {i}" for i in range(9)]}), file)
    return file


def read(source, columns=None):
    return [row for batch in source.batches(columns) for row in batch.to_pylist()]


@pytest.mark.parametrize("limit", [None, 0, 4, 9, 50])
def test_parquet_and_duckdb_give_the_same_rows_each_time(connection, database, parquet, limit):
    rows = [{"id": i, "headline": f"row {i}"} for i in range(9)][:limit]
    for source in (
        ParquetSource(parquet, limit=limit),
        DuckDBSource(connection, database, "news", limit=limit),
    ):
        assert read(source) == read(source) == rows
        assert read(source, ["headline"]) == [{"headline": row["headline"]} for row in rows]


def test_a_view_gives_the_same_order_twice(connection, database):
    source = DuckDBSource(connection, database, "latest")
    first = read(source)
    assert sorted(row["id"] for row in first) == list(range(9))
    assert read(source) == first


def test_arrow_tables_are_read_in_batches():
    source = ArrowSource(pa.table({"id": range(70_000)}))
    assert [batch.num_rows for batch in source.batches()] == [65_536, 4_464]
    assert source.signature() == 70_000


def test_only_a_duckdb_table_names_its_own_types(connection, database, parquet):
    assert DuckDBSource(connection, database, "news").schema.duckdb_types == {
        "id": "BIGINT",
        "headline": "VARCHAR",
    }
    assert ParquetSource(parquet).schema.duckdb_types == {}


def test_a_parquet_file_that_changed_or_vanished_since_it_was_opened_is_refused(parquet):
    source = ParquetSource(parquet)
    before = source.signature()
    assert source.signature() == before
    pq.write_table(pa.table({"headline": ["other"]}), parquet)
    with pytest.raises(TryAgainError, match="changed while it was being read"):
        source.signature()
    assert ParquetSource(parquet).signature() != before
    parquet.unlink()
    with pytest.raises(TryAgainError, match="changed while it was being read"):
        source.signature()


@pytest.mark.parametrize(
    "change",
    ["UPDATE news SET headline = 'x' WHERE id = 3", "DELETE FROM news WHERE id = 8",
     "CREATE OR REPLACE TABLE news AS FROM news ORDER BY id DESC"],
)  # fmt: skip
def test_a_changed_table_has_another_signature(connection, database, change):
    source = DuckDBSource(connection, database, "news")
    before = source.signature()
    assert source.signature() == before
    with duckdb.connect(str(database)) as owner:
        owner.execute(change)
    assert source.signature() != before


def test_the_file_is_free_for_its_owner_while_nothing_is_read(connection, database):
    source = DuckDBSource(connection, database, "news")
    read(source)
    code = f"import duckdb; duckdb.connect({str(database)!r}).execute('CREATE TABLE t (i INT)')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_table_lists_those_there_are(connection, database):
    with pytest.raises(MissingInputError, match=r"no table 'nws'; it has: latest, news"):
        DuckDBSource(connection, database, "nws")
    assert table_names(database) == "latest, news"


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        ("SELECT CAST(headline AS INT) AS headline FROM news", r"cannot be run \(Conversion Error"),
        ("SELECT * FROM read_csv('other.csv')", "reads other files, which is not allowed"),
        ("SELECT content AS headline FROM read_text('other.csv')", "reads other files"),
        ("SELECT headline FROM news WHERE (SELECT max(headline) FROM 'other.csv') > ''", "reads"),
    ],
)
def test_a_view_that_cannot_be_run_or_reads_other_files_is_bad_data(
    connection, database, view, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("headline\nx\n")
    with duckdb.connect(str(database)) as owner:
        owner.execute(f"CREATE VIEW broken AS {view}")
    with pytest.raises(BadDataError, match=f"the view 'broken' of .* {reason}"):
        DuckDBSource(connection, database, "broken")


@pytest.mark.parametrize("size", [0, 5, 9_000, 20_000])
def test_a_duckdb_file_that_is_cut_off_is_bad_data(connection, database, size):
    database.write_bytes(database.read_bytes()[:size])
    with pytest.raises(BadDataError, match=r"truncated or corrupt|not a DuckDB database"):
        DuckDBSource(connection, database, "news")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + b"x" * 99])
def test_a_parquet_file_that_is_none_is_bad_data(parquet, content):
    parquet.write_bytes(content)
    with pytest.raises(BadDataError, match="is not a readable Parquet file"):
        ParquetSource(parquet)


def test_a_parquet_file_with_a_damaged_page_is_bad_data_when_read(tmp_path):
    file = tmp_path / "damaged.parquet"
    pq.write_table(pa.table({"headline": [f"row {i}" for i in range(5_000)]}), file)
    content = bytearray(file.read_bytes())
    content[200:4_000] = b"\xff" * 3_800
    file.write_bytes(content)
    source = ParquetSource(file)
    with pytest.raises(BadDataError, match="is not a readable Parquet file"):
        read(source)


def test_files_that_are_not_there(connection, tmp_path):
    with pytest.raises(MissingInputError, match="does not exist"):
        ParquetSource(tmp_path / "none.parquet")
    with pytest.raises(MissingInputError, match="does not exist"):
        DuckDBSource(connection, tmp_path / "none.duckdb", "t")


def test_attaching_within_an_attached_block_borrows_it(connection, database):
    with attached(connection, database, write=True) as (outer, catalog):
        outer.execute(f"CREATE TABLE {catalog}.more (i INT)")
        with attached(connection, database) as (inner, same):
            assert same == catalog
            assert inner.execute(f"SELECT count(*) FROM {same}.news").fetchone() == (9,)
        assert outer.execute(f"SELECT count(*) FROM {catalog}.news").fetchone() == (9,)
    names = [row[0] for row in connection.execute("FROM duckdb_databases()").fetchall()]
    assert catalog not in names


def test_a_file_attached_under_another_name_is_not_borrowed(connection, database):
    connection.execute(f"ATTACH '{database}' AS store")
    with pytest.raises(UsageError, match="is the store or already open"):
        DuckDBSource(connection, database, "news")


@pytest.mark.parametrize("names", [["a", "b", "a"], ["news", "News"], ["", ""]])
def test_column_names_that_differ_in_nothing_but_case(names):
    with pytest.raises(BadDataError, match="more than once"):
        check_column_names(names, "x.parquet")


def test_the_text_column_is_the_first_usual_name():
    names = ("text", "title", "sentence")
    schema = RowSchema(pa.schema([(name, pa.string()) for name in names]))
    assert choose_text_column(schema, None, "x") == "title"
    assert choose_text_column(schema, "text", "x") == "text"
    with pytest.raises(BadDataError, match=r"no column 'body'; it has: text, title, sentence"):
        choose_text_column(schema, "body", "x")
    with pytest.raises(BadDataError, match=r"none of the columns headline, title, .* it has: id"):
        choose_text_column(RowSchema(pa.schema([("id", pa.int64())])), None, "x")


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.null(),
     pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)  # fmt: skip
def test_every_kind_of_text_is_text(kind):
    values = ["a", None] if kind != pa.null() else [None, None]
    source = ArrowSource(pa.table({"title": pa.array(values, kind)}))
    assert choose_text_column(source.schema, None, "x") == "title"
    ((text, undecodable),) = text_batches(source, "title")
    assert text.to_pylist() == values
    assert undecodable.to_pylist() == [False, False]


@pytest.mark.parametrize("kind", [pa.int64(), pa.binary(), pa.list_(pa.string())], ids=str)
def test_other_types_are_no_text(kind):
    with pytest.raises(BadDataError, match=r"column 'title' of x holds .*, not text"):
        choose_text_column(RowSchema(pa.schema([("title", kind)])), None, "x")


def test_text_that_is_no_utf_8_is_told_from_null():
    offsets = pa.py_buffer(np.array([0, 1, 2, 4], np.int32).tobytes())
    text = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xff\xc3\xa9"))
    ((decoded, undecodable),) = text_batches(ArrowSource(pa.table({"title": text})), "title")
    assert decoded.to_pylist() == ["a", None, "\u00e9"]
    assert undecodable.to_pylist() == [False, True, False]
