"""Sinks: an output appears whole or not at all, and knows what it was made from."""

import fcntl
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finsent_batch.errors import BadDataError, CannotCreateError, TryAgainError
from finsent_batch.io.arrow import ArrowSink
from finsent_batch.io.columns import RowSchema
from finsent_batch.io.duckdb_table import DuckDBSink
from finsent_batch.io.parquet import ParquetSink
from finsent_batch.io.provenance import Provenance
from finsent_batch.io.text.sink import TextSink

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])
MADE = Provenance(input="/somewhere/in.csv", run_id="r1")
KINDS = ["out.parquet", "out.csv", "out.duckdb"]


class BoomError(Exception):
    """Raised in the middle of the rows."""


@pytest.fixture
def make(tmp_path):
    """Return a sink by file name; a DuckDB one writes the table `t`."""
    with duckdb.connect(":memory:") as connection:

        def call(name):
            file = tmp_path / name
            if file.suffix == ".duckdb":
                return DuckDBSink(connection, file, "t")
            return (ParquetSink if file.suffix == ".parquet" else TextSink)(file)

        yield call


def batches(*texts):
    for i, text in enumerate(texts):
        if text is BoomError:
            raise BoomError
        yield pa.RecordBatch.from_pylist([{"id": i, "text": text}], schema=SCHEMA)


def texts(sink):
    if sink.table:
        with duckdb.connect(sink.path, read_only=True) as connection:
            return [row[0] for row in connection.execute("SELECT text FROM t").fetchall()]
    read = pl.read_parquet if sink.path.endswith(".parquet") else pl.read_csv
    return read(sink.path)["text"].to_list()


@pytest.mark.parametrize("name", KINDS)
def test_rows_are_written_and_replaced(make, name):
    sink = make(name)
    assert not sink.exists()
    sink.write(RowSchema(SCHEMA), batches("a", "b"), MADE)
    assert (sink.exists(), texts(sink)) == (True, ["a", "b"])
    sink.write(RowSchema(SCHEMA), batches("c"), MADE)
    assert texts(sink) == ["c"]


@pytest.mark.parametrize("name", KINDS)
def test_a_failure_half_way_leaves_the_earlier_output_and_nothing_else(make, name, tmp_path):
    sink = make(name)
    sink.write(RowSchema(SCHEMA), batches("old"), MADE)
    with pytest.raises(BoomError):
        sink.write(
            RowSchema(SCHEMA), batches("new", "newer", BoomError), replace(MADE, run_id="r2")
        )
    assert texts(sink) == ["old"]
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208
    assert (sink.provenance() or MADE) == MADE


@pytest.mark.parametrize("name", KINDS)
def test_a_failure_half_way_leaves_no_new_file(make, name, tmp_path):
    with pytest.raises(BoomError):
        make(name).write(RowSchema(SCHEMA), batches("new", BoomError), MADE)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_run_leaves_the_other_tables_of_the_file(make, tmp_path):
    with duckdb.connect(str(tmp_path / "out.duckdb")) as owner:
        owner.execute("CREATE TABLE mine AS SELECT 1 AS i")
    with pytest.raises(BoomError):
        make("out.duckdb").write(RowSchema(SCHEMA), batches("new", BoomError), MADE)
    with duckdb.connect(str(tmp_path / "out.duckdb")) as owner:
        assert owner.execute("SHOW TABLES").fetchall() == [("mine",)]


def test_a_reader_sees_the_old_table_until_the_new_one_is_whole(make, tmp_path):
    sink = make("out.duckdb")
    sink.write(RowSchema(SCHEMA), batches("old"), MADE)
    seen = []

    def watched():
        for batch in batches("new", "newer"):
            with sink._connection.cursor() as reader:
                seen.extend(reader.execute("SELECT text FROM attached_0.t").fetchall())
            yield batch

    sink.write(RowSchema(SCHEMA), watched(), MADE)
    assert seen == [("old",), ("old",)]
    assert texts(sink) == ["new", "newer"]


def test_parquet_and_tables_hold_their_provenance_and_csv_does_not(make):
    for name in KINDS:
        sink = make(name)
        assert sink.provenance() is None
        sink.write(RowSchema(SCHEMA), batches("a"), MADE)
        assert sink.provenance() == (None if name == "out.csv" else MADE)


def test_what_others_made_has_no_provenance(make, tmp_path):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "out.parquet")
    with duckdb.connect(str(tmp_path / "out.duckdb")) as owner:
        owner.execute("CREATE TABLE t (i INT); COMMENT ON TABLE t IS 'not {json'")
    for name in ("out.parquet", "out.duckdb"):
        assert make(name).exists()
        assert make(name).provenance() is None
    (tmp_path / "out.parquet").write_text("rubbish")
    assert make("out.parquet").provenance() is None


def test_the_provenance_of_an_input_does_not_pass_to_its_output(make):
    earlier = SCHEMA.with_metadata({"finsent_batch": '{"input": "other"}', "pandas": "{}"})
    sink = make("out.parquet")
    sink.write(RowSchema(earlier), batches("a"), MADE)
    assert sink.provenance() == MADE
    assert pq.read_schema(sink.path).metadata[b"pandas"] == b"{}"


@pytest.mark.parametrize("taken", ["TABLE T (i INT)", "VIEW T AS SELECT 1 AS i"])
def test_a_table_of_that_name_in_another_case_is_seen(make, tmp_path, taken):
    with duckdb.connect(str(tmp_path / "out.duckdb")) as owner:
        owner.execute(f"CREATE {taken}")
    assert make("out.duckdb").exists()


def test_a_view_is_not_replaced_by_a_table(make, tmp_path):
    with duckdb.connect(str(tmp_path / "out.duckdb")) as owner:
        owner.execute("CREATE VIEW t AS SELECT 1 AS i")
    with pytest.raises(CannotCreateError, match="cannot create table 't'"):
        make("out.duckdb").write(RowSchema(SCHEMA), batches("a"), MADE)


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
def test_what_a_killed_run_left_is_taken_over(make, name, tmp_path):
    (tmp_path / f".{name}.finsent-tmp").write_text("half a file " * 9_999)
    sink = make(name)
    sink.check_writable()
    (tmp_path / f".{name}.finsent-tmp").write_text("half a file " * 9_999)
    sink.write(RowSchema(SCHEMA), batches("a"), MADE)
    assert texts(sink) == ["a"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
def test_a_file_that_another_run_is_writing_is_left_to_it(make, name, tmp_path):
    with (tmp_path / f".{name}.finsent-tmp").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for attempt in (
            make(name).check_writable,
            lambda: make(name).write(RowSchema(SCHEMA), batches("a"), MADE),
        ):
            with pytest.raises(TryAgainError, match="another run is writing"):
                attempt()
    assert not (tmp_path / name).exists()


def test_a_table_file_that_another_process_reads_is_met_before_scoring(make, tmp_path):
    sink = make("out.duckdb")
    sink.write(RowSchema(SCHEMA), batches("a"), MADE)
    code = f"import duckdb as d; d.connect({sink.path!r}, read_only=True); print(1, flush=True)"
    reader = subprocess.Popen(
        [sys.executable, "-c", f"{code.replace('d.connect', 'c = d.connect')}; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert reader.stdout.readline()
        with pytest.raises(TryAgainError, match=f"is in use by process {reader.pid}"):
            sink.check_writable()
    finally:
        reader.communicate()


@pytest.mark.parametrize("name", KINDS)
def test_checking_leaves_no_trace(make, name, tmp_path):
    make(name).check_writable()
    if name != "out.duckdb":
        make(f"new/folder/{name}").check_writable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", KINDS)
def test_places_where_nothing_can_be_written(make, name, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / name).mkdir(parents=True)
    for place in (f"file/{name}", f"folder/{name}", f"/proc/none/{name}"):
        with pytest.raises(CannotCreateError):
            make(place).check_writable()


def test_folders_on_the_way_are_made(make, tmp_path):
    make("new/folder/out.csv").write(RowSchema(SCHEMA), batches("a"), MADE)
    assert (tmp_path / "new" / "folder" / "out.csv").exists()


def test_a_link_is_written_through(make, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "real" / "out.csv")
    make("out.csv").write(RowSchema(SCHEMA), batches("a"), MADE)
    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "real" / "out.csv").exists()


def test_csv_tells_null_from_empty_and_quotes_what_needs_it(make, tmp_path):
    rows = batches(None, "", 'say "hi", twice', "two\nlines", "5\u20ac")
    make("out.csv").write(RowSchema(SCHEMA), rows, MADE)
    expected = 'id,text\n0,\n1,""\n2,"say ""hi"", twice"\n3,"two\nlines"\n4,5\u20ac\n'
    assert (tmp_path / "out.csv").read_text("utf-8") == expected


def test_csv_keeps_a_column_without_a_name(make, tmp_path):
    row = pa.RecordBatch.from_arrays([pa.array([7]), pa.array(["x"])], names=["", "text"])
    make("out.csv").write(RowSchema(row.schema), iter([row]), MADE)
    assert (tmp_path / "out.csv").read_text() == '"",text\n7,x\n'
    with pytest.raises(CannotCreateError, match="column without a name"):
        make("out.duckdb").check_columns(RowSchema(row.schema))


def test_text_that_is_no_utf_8_goes_to_parquet_alone(make):
    offsets = pa.py_buffer(np.array([0, 1], np.int32).tobytes())
    text = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(b"\xff"))
    row = pa.RecordBatch.from_arrays([pa.array([1]), text], schema=SCHEMA)
    make("out.parquet").write(RowSchema(SCHEMA), iter([row]), MADE)
    for name in ("out.csv", "out.duckdb"):
        with pytest.raises(BadDataError, match=r"cannot hold text that is not UTF-8.*\.parquet"):
            make(name).write(RowSchema(SCHEMA), iter([row]), MADE)
        assert not make(name).exists()


def test_the_arrow_sink_keeps_the_table():
    sink = ArrowSink()
    sink.write(RowSchema(SCHEMA), batches("a", "b"), MADE)
    assert sink.result.column("text").to_pylist() == ["a", "b"]
    assert (sink.exists(), sink.provenance()) == (False, None)


@pytest.mark.parametrize(("count", "refused"), [(123_456_789, True), (123_456_000, False)])
def test_durations_to_the_nanosecond_are_refused_where_they_would_lose_it(tmp_path, count, refused):
    schema = pa.schema([("lag", pa.duration("ns"))])
    batch = pa.RecordBatch.from_arrays([pa.array([count], pa.duration("ns"))], schema=schema)
    sink = TextSink(tmp_path / "o.csv")
    with pytest.raises(BadDataError, match="'lag'") if refused else nullcontext():
        sink.write(RowSchema(schema), iter([batch]), Provenance(input="x"))


def test_headlines_that_are_not_marked_as_text_are_text_in_csv(tmp_path):
    schema = pa.schema([("headline", pa.binary())])
    batch = pa.RecordBatch.from_arrays([pa.array(["Café".encode()])], schema=schema)
    provenance = Provenance(input="x", settled=True, text_column="headline")
    TextSink(tmp_path / "o.csv").write(RowSchema(schema), iter([batch]), provenance)
    assert (tmp_path / "o.csv").read_text("utf-8") == "headline\nCafé\n"
