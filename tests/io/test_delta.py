"""`-o delta:PATH --append`: a Delta table that nights share, each row of each input there once."""

import json
import os
import signal
import sys
from datetime import datetime

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finsent_batch.io.append.delta_sink import DeltaSink
from finsent_batch.io.columns import RowSchema
from finsent_batch.io.provenance import Provenance

from ..helpers import forks
from ..helpers.delta_writers import check_that_the_second_is_told

deltalake = pytest.importorskip("deltalake", reason="the extra delta is not installed")

TO = ("-o", "delta:lake", "--append")


@pytest.fixture
def night(tmp_path):
    """Write a night's file of the given headlines; columns by name come with them."""

    def write(name, texts, **columns):
        frame = pl.DataFrame({"headline": texts, "published_at": ["2014-01-06"] * len(texts)})
        frame.with_columns(**columns).write_parquet(tmp_path / f"{name}.parquet")

    return write


def rows(folder):
    found = deltalake.DeltaTable(folder / "lake").to_pyarrow_table()
    return sorted(
        (row["input_file"].split("/")[-1], row["headline"], row["sentiment"] is not None)
        for row in found.to_pylist()
    )


def versions(folder):
    return deltalake.DeltaTable(folder / "lake").version()


def test_each_night_replaces_its_own_rows_in_one_commit_and_counts_once(
    score, run, night, tmp_path
):
    night("mon", ["Oil falls", "Bank cuts jobs"])
    night("it's", ["Sales rise"])
    assert score("mon.parquet", *TO)["outputs"] == [f"{tmp_path}/lake"]
    score("it's.parquet", *TO)
    night("mon", ["Deal posts record"])
    score("mon.parquet", *TO)
    assert versions(tmp_path) == 2
    assert rows(tmp_path) == [
        ("it's.parquet", "Sales rise", True),
        ("mon.parquet", "Deal posts record", True),
    ]
    for source in ((), ("--from", "lake")):  # the old file is still in the folder
        told = run("query", "daily_sentiment", *source, "--format", "json").json
        assert [(row["day"], row["headlines"]) for row in told] == [("2014-01-06", 2)]
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        assert store.execute("SELECT count(*) FROM scored_headlines").fetchone() == (2,)
    assert score("lake", "-o", "again.parquet", "--replace-columns")["rows"]["read"] == 2
    done = run("score", "mon.parquet", *TO, "--limit", "0")
    assert (done.code, "holds the whole of" in done.err) == (73, True)


@pytest.mark.parametrize("place", ["before_table_commit", "table_committed"])
def test_a_killed_night_appears_once_after_it_is_run_again(
    score, night, tmp_path, tiny_model, place
):
    night("mon", ["Oil falls", "Sales rise", "Deal falls"])
    score("mon.parquet", *TO)
    night("mon", ["Sales rise", "Oil falls"])  # known scores: the process needs no model
    command = [forks.COMMAND, "score", "mon.parquet", *TO]
    ended = forks.run(
        [*command, "--model", tiny_model, "--weights", "fp32"],
        cwd=tmp_path,
        env={**os.environ, "FINSENT_FAILPOINT": f"{place}:kill"},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(rows(tmp_path)) == (2 if place == "table_committed" else 3)
    score("mon.parquet", *TO)
    assert rows(tmp_path) == [
        ("mon.parquet", "Oil falls", True),
        ("mon.parquet", "Sales rise", True),
    ]


def test_a_run_that_comes_to_its_commit_twice_is_there_once(tmp_path):
    schema = RowSchema(pa.schema([("headline", pa.string())]))
    batch = pa.record_batch({"headline": ["Oil falls"]})
    run_ids = ("019ac000-0000-7000-8000-000000000000", "019ac000-0001-7000-8000-000000000000")
    for run_id, version in zip((*run_ids[:1] * 2, run_ids[1]), (0, 0, 1), strict=True):
        made = Provenance(input="/mon.parquet", run_id=run_id)
        DeltaSink(tmp_path / "lake").write(schema, iter((batch,)), made)
        assert versions(tmp_path) == version
    assert deltalake.DeltaTable(tmp_path / "lake").to_pyarrow_table().num_rows == 1


def test_of_two_writers_of_one_night_the_second_is_told_to_try_again(tmp_path):
    """Where there is a table, and where both make it."""
    check_that_the_second_is_told(tmp_path / "lake", "another process wrote")
    assert deltalake.DeltaTable(tmp_path / "lake").to_pyarrow_table().num_rows == 1
    assert versions(tmp_path) == 1


def test_values_come_back_or_the_night_is_refused(score, run, tmp_path, tiny_model):
    moment = datetime(2024, 1, 2, 3, 4, 5, 678901)
    columns = {
        "headline": pa.array(["Oil falls"]),
        "small": pa.array([255], pa.uint8()),
        "large": pa.array([2**64 - 1], pa.uint64()),
        "desk": pa.array(["a"]).dictionary_encode(),
        "at": pa.array([moment], pa.timestamp("ns", "Europe/Berlin")),
        "wall": pa.array([moment], pa.timestamp("us")),
        "tags": pa.array([["x", None]], pa.large_list(pa.large_string())),
        "nothing": pa.nulls(1),
    }
    pq.write_table(pa.table(columns), "n.parquet")
    score("n.parquet", *TO)
    [row] = deltalake.DeltaTable("lake").to_pyarrow_table().to_pylist()
    [given] = pa.table(columns).to_pylist()
    assert {name: row[name] for name in given} == given
    for values, code, said in (
        (pa.array([1], pa.timestamp("ns")), 65, "cannot hold a value of the column 'at'"),
        (pa.array([1], pa.time32("s")), 73, "has no type for the column 'at'"),
    ):
        pq.write_table(pa.table({"headline": ["Oil falls"], "at": values}), "m.parquet")
        done = run("score", "m.parquet", "-o", "delta:m", "--append", "--model", tiny_model)
        assert (done.code, said in done.err) == (code, True), done.err


def test_columns_that_differ_are_refused_or_merged(score, run, night, tmp_path, tiny_model):
    night("mon", ["Oil falls"], price=1, desk=pl.lit("a"))
    night("tue", ["Sales rise"], price=2, region=pl.lit("b"))
    night("wed", ["Sales rise"], price=pl.lit("dear"), desk=pl.lit("a"))
    night("thu", ["Sales rise"], input_file=pl.lit("x"))
    score("mon.parquet", *TO)
    for name, code, said in (
        ("tue", 73, "has no column 'region', the input has"),
        ("wed", 73, "holds int32 in the column 'price', the input string"),
        ("thu", 65, "already has the column 'input_file'"),
    ):
        done = run("score", f"{name}.parquet", *TO, "--model", tiny_model)
        assert (done.code, said in done.err) == (code, True), done.err
    done = run("score", "tue.parquet", *TO, "--on-new-columns", "add", "--model", tiny_model)
    assert "has the column 'desk', the input has not" in done.err
    taken = ("--on-new-columns", "add", "--on-missing-columns", "null")
    warnings = score("tue.parquet", *TO, *taken)["warnings"]
    assert f"{tmp_path}/lake: column 'region' was added" in warnings
    found = deltalake.DeltaTable("lake").to_pyarrow_table().select(["desk", "region"]).to_pylist()
    assert (
        sorted(found, key=str)
        == [
            {"desk": None, "region": "b"},
            {"desk": "a", "region": None},
        ]
        or len(found) == 2
    )


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("-o", "delta:lake"), 2, "add --append"),
        ((*TO, "--partition-by", "day"), 2, "is the whole table: leave out"),
        ((*TO, "--on-changed-types", "cast"), 2, "keeps each input's columns"),
        (("-o", "delta:other", "--append"), 73, "is no Delta table"),
        (("-o", "delta:plain", "--append"), 73, "lacks the column 'sentiment'"),
    ],
)
def test_what_is_refused_leaves_the_table(run, night, tmp_path, options, code, said):
    night("mon", ["Oil falls"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").touch()
    deltalake.write_deltalake(tmp_path / "plain", pa.table({"headline": ["Oil falls"]}))
    done = run("score", "mon.parquet", *options)
    assert (done.code, said in done.err) == (code, True), done.err
    assert deltalake.DeltaTable(tmp_path / "plain").version() == 0


@pytest.mark.parametrize(
    ("number", "said"),
    [(28, "No space left on device): its rows are the earlier ones, and scores are kept; make"),
     (5, "Input/output error): its rows are the earlier ones, and scores are kept; check the")],
)  # fmt: skip
def test_a_disk_that_fails_while_deltalake_writes_is_one_line(
    score, run, night, tmp_path, tiny_model, monkeypatch, number, said
):
    night("mon", ["Oil falls"])
    score("mon.parquet", *TO)

    def failing(*_, **__):  # as deltalake 1 tells of a write in the middle of a file
        raise deltalake.exceptions.DeltaError(
            "Failed to parse parquet: External: Generic LocalFileSystem error: Unable to copy data "
            f"to file: {os.strerror(number)} (os error {number})"
        )

    before = rows(tmp_path)
    night("mon", ["Oil rises"])
    monkeypatch.setattr(deltalake, "write_deltalake", failing)
    done = run("score", "mon.parquet", "--model", tiny_model, *TO)
    assert (done.code, said in done.err, len(done.err.splitlines())) == (74, True, 1), done.err
    assert rows(tmp_path) == before


def test_a_table_whose_files_do_not_say_what_counts_is_refused(run, score, night, tmp_path):
    night("mon", ["Oil falls"])
    score("mon.parquet", *TO)
    log = tmp_path / "lake" / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        for key in ("readerFeatures", "writerFeatures"):
            if "protocol" in action:
                action["protocol"][key].append("deletionVectors")
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))
    done = run("score", "mon.parquet", *TO)
    assert (done.code, "with deletionVectors, by which its files" in done.err) == (65, True)
    done = run("score", "lake", "-o", "out.parquet")
    assert (done.code, "that deltalake cannot read" in done.err) == (65, True), done.err
    log.write_text(log.read_text()[:-90])
    for options in (("mon.parquet", *TO), ("lake", "-o", "out.parquet")):
        done = run("score", *options)
        assert (done.code, "whose log cannot be read" in done.err) == (65, True), done.err


def test_without_the_extra_one_line_says_how_to_install_it(run, night, monkeypatch):
    night("mon", ["Oil falls"])
    monkeypatch.setitem(sys.modules, "deltalake", None)
    done = run("score", "mon.parquet", *TO)
    assert done.code == 69
    assert "pip install 'finsent-batch[delta]'" in done.err


def test_a_folder_that_deltalake_would_take_for_another_is_refused(run, night):
    night("mon", ["Oil falls"])
    done = run("score", "mon.parquet", "-o", "delta:my%20lake", "--append")
    assert done.code == 2
    assert "deltalake takes %20 in a folder's path for another sign" in done.err


def test_a_folder_may_have_any_name(score, run, night):
    night("mon", ["Oil falls"])
    score("mon.parquet", "-o", "delta:my lake/ü#1", "--append")
    done = run("query", "label_mix", "--from", "my lake/ü#1", "--format", "json")
    assert sum(row["rows"] for row in json.loads(done.out)) == 1
