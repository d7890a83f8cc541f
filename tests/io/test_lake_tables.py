"""Delta, Iceberg and Hudi tables: read through DuckDB's extensions or refused as a whole."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from finsent_batch.io.lake import tables
from finsent_batch.io.lake.tables import lake_table


def installed(*names):
    with duckdb.connect() as connection:
        there = connection.sql("SELECT extension_name FROM duckdb_extensions() WHERE installed")
        return {row[0] for row in there.fetchall()}.issuperset(names)


without_delta = pytest.mark.skipif(installed("delta"), reason="DuckDB's delta is installed")


@pytest.fixture
def no_deltalake(monkeypatch):
    """Let the package deltalake be one that is not installed."""
    monkeypatch.setitem(sys.modules, "deltalake", None)


@pytest.fixture
def delta(tmp_path, wordy):
    """A Delta table of ten live rows; ten others are those of a version before."""
    folder = tmp_path / "lake" / "news"
    log = folder / "_delta_log"
    log.mkdir(parents=True)
    frame = pl.DataFrame({"headline": wordy(20), "date": ["2014-01-06"] * 20})
    fields = [
        {"name": name, "type": "string", "nullable": True, "metadata": {}} for name in frame.columns
    ]
    adds = []
    for number, name in enumerate(("old.parquet", "live.parquet")):
        frame.slice(number * 10, 10).write_parquet(folder / name)
        size = (folder / name).stat().st_size
        add = {"path": name, "partitionValues": {}, "size": size, "modificationTime": 0}
        adds.append({"add": {**add, "dataChange": True}})
    first = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": "7d1c2a4e-0000-4000-8000-000000000000",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps({"type": "struct", "fields": fields}),
                "partitionColumns": [],
                "configuration": {},
            }
        },
        adds[0],
    ]
    second = [{"remove": {"path": "old.parquet", "dataChange": True}}, adds[1]]
    for version, actions in enumerate((first, second)):
        (log / f"{version:020}.json").write_text("".join(json.dumps(a) + "\n" for a in actions))
    return folder


def iceberg(folder, *names):
    (folder / "metadata").mkdir(parents=True)
    (folder / "data").mkdir()
    pl.DataFrame({"headline": ["Sales rise"]}).write_parquet(folder / "data" / "a.parquet")
    for name in names:
        (folder / "metadata" / name).write_text("{}")
    return folder


@pytest.mark.parametrize("reader", ["extension", "deltalake"])
def test_a_delta_table_is_read_as_its_log_says(score, run, delta, reader, request):
    if reader == "extension" and not installed("delta"):
        pytest.skip("DuckDB's delta is not installed")
    if reader == "deltalake":
        pytest.importorskip("deltalake", reason="the extra delta is not installed")
    else:
        request.getfixturevalue("no_deltalake")
    summary = score(delta)
    assert summary["rows"]["read"] == 10
    assert pl.read_parquet("lake/news.scored.parquet")["headline"].to_list() == (
        pl.read_parquet(delta / "live.parquet")["headline"].to_list()
    )


@without_delta
def test_without_the_extension_the_command_that_installs_it_is_named(run, delta, no_deltalake):
    done = run("score", delta)
    assert done.code == 65
    assert "_delta_log" in done.err
    assert "INSTALL delta" in done.err
    assert "pip install 'finsent-batch[delta]'" in done.err
    assert not list(delta.parent.glob("*.scored*"))
    # As a shell would run it, but that nothing is downloaded: the SQL is only parsed.
    command = shlex.split(done.err.split("reads it with ")[1].split(" and run again")[0])
    command = [part.replace("duckdb.sql", "duckdb.extract_statements") for part in command]
    subprocess.run(command, check=True, timeout=300)


def test_the_files_of_a_table_are_not_read_by_themselves(run, delta, tmp_path):
    (delta / "desk=a").mkdir()
    pl.read_parquet(delta / "live.parquet").write_parquet(delta / "desk=a" / "x.parquet")
    for named in ("lake", "lake/news/*.parquet", "lake/**/*.parquet", "lake/news/desk=a"):
        done = run("score", named, "-o", "out")
        assert done.code == 65, named
        assert "score " in done.err
        assert "news by itself" in done.err
    assert not Path("out").exists()


def test_an_iceberg_and_a_hudi_table_are_refused_by_name(run, tmp_path):
    iceberg(tmp_path / "ice", "v1.metadata.json")
    done = run("score", "ice")
    assert done.code == 65
    assert "ice is an Iceberg table (metadata " in done.err
    if not installed("avro", "iceberg"):
        assert "INSTALL avro; INSTALL iceberg" in done.err
    (tmp_path / "hudi" / ".hoodie").mkdir(parents=True)
    pl.DataFrame({"headline": ["Sales rise"]}).write_parquet("hudi/a.parquet")
    done = run("score", "hudi")
    assert done.code == 65
    assert "hudi is a Hudi table (.hoodie " in done.err
    assert "INSTALL" not in done.err


def test_a_folder_called_metadata_makes_no_table(score, tmp_path):
    (tmp_path / "feed" / "metadata").mkdir(parents=True)
    (tmp_path / "feed" / "metadata" / "notes.json").write_text("{}")
    pl.DataFrame({"headline": ["Sales rise"]}).write_parquet("feed/a.parquet")
    assert score("feed")["rows"]["read"] == 1


@pytest.mark.parametrize(
    ("names", "hint", "current"),
    [
        (["00000-a.metadata.json", "00001-b.metadata.json"], None, "00001-b.metadata.json"),
        (["00002-a.metadata.json", "00010-b.metadata.json"], None, "00010-b.metadata.json"),
        (["v1.metadata.json", "v2.metadata.json"], "1", "v1.metadata.json"),
        (["v1.metadata.json", "v2.metadata.json"], "7", "v2.metadata.json"),
        (["00001-a.metadata.json", "00001-b.metadata.json"], None, None),
    ],
)
def test_which_metadata_of_an_iceberg_table_counts(tmp_path, names, hint, current):
    folder = iceberg(tmp_path / "ice", *names)
    if hint:
        (folder / "metadata" / "version-hint.text").write_text(hint)
    table = lake_table(folder)
    if current is None:
        with pytest.raises(tables.BadDataError, match="only its catalog knows"):
            tables._scan(table)
        return
    sql, notes = tables._scan(table)
    assert f"metadata/{current}'" in sql
    assert current in notes[0]


@pytest.fixture
def own_reader(monkeypatch, delta, no_deltalake):
    """DuckDB's own extension in the place of one that has to be installed, on the live file."""
    monkeypatch.setitem(tables._EXTENSIONS, "delta", ("parquet",))
    sql = f"read_parquet('{delta / 'live.parquet'}')"
    monkeypatch.setattr(tables, "_scan", lambda table: (sql, (f"{table.folder} was read",)))


@pytest.mark.parametrize(
    "output", [(), ("-o", "o.csv"), ("-o", "o.duckdb", "--output-table", "t", "--append")]
)
def test_what_an_extension_reads_is_one_input(score, run, delta, own_reader, output):
    for _ in range(2):  # the second time it replaces its own output
        summary = score("lake/news", *output)
        assert summary["rows"]["read"] == 10
        assert "lake/news was read" in summary["warnings"]
        [day] = run("query", "daily_sentiment", "--format", "json").json
        assert day["headlines"] == 10
    with duckdb.connect("finsent.duckdb", read_only=True) as store:
        assert set(store.sql("SELECT input FROM run_files").fetchall()) == {(str(delta.resolve()),)}


def test_a_table_is_named_by_its_folder_wherever_one_stands(score, delta, own_reader, monkeypatch):
    monkeypatch.chdir(delta)
    score(".")
    assert (delta.parent / "news.scored.parquet").exists()


def test_a_commit_while_it_is_read_ends_the_run(run, tiny_model, delta, own_reader, monkeypatch):
    stage = tables.stage_lake_table

    def and_a_commit(table, staged):
        notes = stage(table, staged)
        (table.log / f"{2:020}.json").write_text("")
        os.utime(table.log, ns=(1, 1))  # a clock of seconds may not tell
        return notes

    monkeypatch.setattr("finsent_batch.pipeline.tasks.stage_lake_table", and_a_commit)
    done = run("score", "lake/news", "--model", tiny_model, "--weights", "fp32")
    assert done.code == 75, done.err
    assert "changed while it was being read" in done.err


def test_what_the_extension_cannot_read_is_said(run, delta, monkeypatch, no_deltalake):
    monkeypatch.setitem(tables._EXTENSIONS, "delta", ("parquet",))
    monkeypatch.setattr(tables, "_scan", lambda table: ("read_parquet('gone.parquet')", ()))
    done = run("score", "lake/news")
    assert done.code == 65
    assert "DuckDB cannot read" in done.err
