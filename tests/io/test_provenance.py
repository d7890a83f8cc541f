"""Provenance: what outputs keep of it, and who may replace what."""

from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from finsent_batch.errors import CannotCreateError
from finsent_batch.io.arrow import ArrowSink, ArrowSource
from finsent_batch.io.columns import RowSchema
from finsent_batch.io.duckdb_append import AppendingSink
from finsent_batch.io.duckdb_table import DuckDBSink
from finsent_batch.io.parquet import ParquetSink
from finsent_batch.io.provenance import Provenance
from finsent_batch.io.result_columns import RESULT_SCHEMA
from finsent_batch.io.text.sink import TextSink

SCHEMA = pa.schema([("text", pa.string())])
LABELLED = pa.unify_schemas([SCHEMA, RESULT_SCHEMA])
FULL = Provenance(
    version="1", input="/a.csv", input_table="t", run_id="r", model="m", model_fingerprint="f"
)


def test_it_comes_back_as_it_was():
    settled = replace(FULL, settled=True, text_column="text", timezone="UTC", limit=5)
    for made in (FULL, settled):
        assert Provenance.from_json(made.to_json()) == made
    assert Provenance.from_json(FULL.shared().to_json()) == FULL.shared()


def test_outputs_keep_what_earlier_versions_kept():
    # As written since 0.1.0: outputs that are there must go on being known.
    assert list(FULL.to_json().items()) == [
        ("version", "1"), ("input", "/a.csv"), ("input_table", "t"), ("run_id", "r"),
        ("model", "m"), ("model_fingerprint", "f"),
    ]  # fmt: skip
    assert list(replace(FULL, settled=True, date_column="day", limit=5).to_json())[6:] == [
        "limit", "text_column", "date_column", "date_format", "timezone",
    ]  # fmt: skip
    assert list(FULL.shared().to_json().items()) == [
        ("version", "1"), ("run_id", "r"), ("append", True), ("input", None), ("input_table", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", [None, [], "text", {}, {"run_id": "r"}, {"input": 3}, {"input": "/a", "limit": "5"}]
)
def test_what_others_wrote_is_none(value):
    assert Provenance.from_json(value) is None


@pytest.fixture(params=["parquet", "duckdb", "append"])
def make(request, tmp_path):
    """Make the sink of one output of this kind, each time anew."""
    with duckdb.connect(":memory:") as connection:

        def call():
            if request.param == "parquet":
                return ParquetSink(tmp_path / "out.parquet")
            kind = AppendingSink if request.param == "append" else DuckDBSink
            return kind(connection, tmp_path / "out.duckdb", "news")

        call.shared = request.param == "append"
        yield call


def write(sink, made):
    rows = pa.RecordBatch.from_pylist([{"text": "Oil falls"}], schema=LABELLED)
    sink.write(RowSchema(LABELLED), iter([rows]), made)


def test_who_may_replace_an_output(make):
    mine, other = ArrowSource(SCHEMA.empty_table(), "/a"), ArrowSource(SCHEMA.empty_table(), "/b")
    make().check_replaceable(mine, overwrite=False)
    write(make(), Provenance(input="/a", version="1", run_id="r"))
    make().check_replaceable(mine, overwrite=False)
    if make.shared:
        make().check_replaceable(other, overwrite=False, limit=1)
        make().check_replaceable(mine, overwrite=False, limit=1)
        with pytest.raises(CannotCreateError, match=r"holds the whole of /a"):
            make().check_replaceable(mine, overwrite=False, limit=0)
        return
    with pytest.raises(CannotCreateError, match=r"exists \(made from /a\) and is not an output of"):
        make().check_replaceable(other, overwrite=False)
    make().check_replaceable(other, overwrite=True)
    with pytest.raises(CannotCreateError, match=r"holds the whole of /a, and --limit would leave"):
        make().check_replaceable(mine, overwrite=False, limit=1)
    write(make(), Provenance(input="/a", settled=True, limit=2))
    make().check_replaceable(mine, overwrite=False, limit=1)


def test_a_table_that_inputs_share_is_neither_replaced_nor_made_of_another(tmp_path):
    source = ArrowSource(SCHEMA.empty_table(), "/a")
    with duckdb.connect(":memory:") as connection:
        write(AppendingSink(connection, tmp_path / "n.duckdb", "t"), Provenance(input="/a"))
        write(DuckDBSink(connection, tmp_path / "n.duckdb", "u"), Provenance(input="/a"))
        with pytest.raises(CannotCreateError, match=r"collects inputs with --append"):
            DuckDBSink(connection, tmp_path / "n.duckdb", "t").check_replaceable(
                source, overwrite=False
            )
        with pytest.raises(CannotCreateError, match=r"was not made with --append"):
            AppendingSink(connection, tmp_path / "n.duckdb", "u").check_replaceable(
                source, overwrite=True
            )


def test_a_csv_file_of_unknown_provenance_is_not_replaced(tmp_path):
    (tmp_path / "out.csv").write_text("text\n")
    source = ArrowSource(SCHEMA.empty_table(), "/a")
    with pytest.raises(CannotCreateError, match="exists and is not an output of this input"):
        TextSink(tmp_path / "out.csv").check_replaceable(source, overwrite=False)
    ArrowSink().check_replaceable(source, overwrite=False)
