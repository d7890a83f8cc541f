"""What `score` replaces, what it leaves alone, and what a run that fails leaves."""

import os

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

OUTPUTS = ["out.parquet", "out.csv", "out.duckdb"]


@pytest.fixture
def score(run, tiny_model):
    """Run `score` with the tiny model; gives code, stdout and stderr."""
    options = ("--model", tiny_model, "--weights", "fp32", "--summary", "json")

    def call(*arguments, before=()):
        return run(*before, "score", *arguments, *options)

    return call


@pytest.fixture
def inputs(headlines, tmp_path):
    """Two inputs, a.parquet of twelve rows and b.parquet of three."""
    headlines.drop("tags").write_parquet(tmp_path / "a.parquet")
    headlines.drop("tags").head(3).write_parquet(tmp_path / "b.parquet")
    return tmp_path


def rows(file, table="a_scored"):
    if file.suffix == ".duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return (pl.read_parquet if file.suffix == ".parquet" else pl.read_csv)(file).height


def make_foreign(file):
    if file.suffix == ".duckdb":
        with duckdb.connect(str(file)) as connection:
            connection.execute("CREATE OR REPLACE TABLE A_Scored AS SELECT 1 AS i")
    elif file.suffix == ".parquet":
        pl.DataFrame({"i": [1]}).write_parquet(file)
    else:
        file.write_text("i\n1\n")


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_same_command_can_simply_be_run_again(score, inputs, output):
    assert score("a.parquet", "-o", output).code == 0
    pl.read_parquet(inputs / "a.parquet").head(5).write_parquet(inputs / "a.parquet")
    assert score("a.parquet", "-o", output).code == 0
    assert rows(inputs / output) == 5


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_others_made_is_kept_unless_told_otherwise(score, inputs, output):
    make_foreign(inputs / output)
    done = score("a.parquet", "-o", output)
    assert done.code == 73
    assert done.err.count("\n") == 1
    assert f"{output} exists and is not an output of this input" in done.err
    assert "--overwrite" in done.err
    assert rows(inputs / output) == 1
    assert not (inputs / "finsent.duckdb").exists()
    assert score("a.parquet", "-o", output, "--overwrite").code == 0
    assert rows(inputs / output) == 12


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_output_of_another_input_is_kept(score, inputs, output):
    table = ("--output-table", "a_scored") if output == "out.duckdb" else ()
    assert score("a.parquet", "-o", output).code == 0
    done = score("b.parquet", "-o", output, *table)
    assert done.code == 73
    assert f"exists (made from {inputs}/a.parquet)" in done.err
    assert rows(inputs / output) == 12


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_that_others_have_replaced_since_is_theirs(score, inputs, output):
    assert score("a.parquet", "-o", output).code == 0
    make_foreign(inputs / output)
    later = (inputs / output).stat().st_mtime + 60
    os.utime(inputs / output, (later, later))
    assert score("a.parquet", "-o", output).code == 73
    assert rows(inputs / output) == 1


def test_marks_are_known_with_another_store_and_csv_has_none(score, inputs):
    for output, code in zip(OUTPUTS, (0, 73, 0), strict=True):
        assert score("a.parquet", "-o", output).code == 0
        assert score("a.parquet", "-o", output, before=("--store", "new.duckdb")).code == code


def test_a_scored_file_scored_again_is_known_by_its_new_input(score, inputs):
    assert score("a.parquet", "-o", "one.parquet").code == 0
    for _ in range(2):
        done = score("one.parquet", "-o", "two.parquet", "--replace-columns")
        assert done.code == 0, done.err
    assert score("a.parquet", "-o", "two.parquet").code == 73


def test_two_inputs_that_would_be_one_output_are_refused(score, inputs):
    (inputs / "a.csv").write_text("headline\nOil falls\n")
    done = score("a.*", "-o", "out")
    assert done.code == 2
    assert "would both be written to out/a.scored.parquet" in done.err
    (inputs / "A.parquet").write_bytes((inputs / "a.parquet").read_bytes())
    done = score("[aA].parquet", "-o", "out.duckdb")
    assert done.code == 2
    assert "would both be written to out.duckdb" in done.err


def test_many_inputs_need_a_folder(score, inputs):
    done = score("*.parquet", "-o", "out.parquet")
    assert done.code == 2
    assert "the inputs are several: name a folder with -o" in done.err
    assert score("*.parquet", "-o", "out.duckdb", "--output-table", "t").code == 2
    assert score("*.parquet", "--table", "t").code == 2


def test_options_that_go_with_duckdb_alone(score, inputs):
    assert "--table goes with a .duckdb input" in score("a.parquet", "--table", "t").err
    done = score("a.parquet", "-o", "out.csv", "--output-table", "t")
    assert (done.code, "--output-table goes with a .duckdb output" in done.err) == (2, True)


def test_a_dry_run_writes_nothing(score, inputs):
    before = sorted(inputs.rglob("*"))
    for output in ("deep/out.parquet", "out.duckdb"):
        done = score("a.parquet", "-o", output, "--dry-run")
        assert done.code == 0, done.err
        assert (done.json["rows"], done.json["to_score"]) == (12, 8)
    assert sorted(inputs.rglob("*")) == before


@pytest.mark.parametrize("output", ["out.csv", "out.duckdb"])
def test_a_publication_that_fails_keeps_the_earlier_output_and_the_scores(score, inputs, output):
    assert score("a.parquet", "-o", output).code == 0
    table = pq.read_table(inputs / "a.parquet")
    offsets = pa.py_buffer(np.arange(13, dtype=np.int32).tobytes())
    bad = pa.StringArray.from_buffers(12, offsets, pa.py_buffer(b"\xff" * 12))
    fresh = pa.array([f"Nokia posts profit {i}" for i in range(12)])
    table = table.append_column("bad", bad).set_column(1, "headline", fresh)
    pq.write_table(table, inputs / "a.parquet")
    done = score("a.parquet", "-o", output)
    assert done.code == 65
    assert "cannot hold text that is not UTF-8" in done.err
    assert "Traceback" not in done.err
    assert rows(inputs / output) == 12
    assert not list(inputs.glob(".*"))
    again = score("a.parquet", "-o", "out.parquet")
    assert again.code == 0, again.err
    assert again.json["rows"]["unique_scored"] == 0
    with duckdb.connect(str(inputs / "finsent.duckdb")) as store:
        ends = store.execute("SELECT status, exit_code FROM runs ORDER BY started_at").fetchall()
    assert ends == [("done", 0), ("failed", 65), ("done", 0)]


def test_a_page_that_is_damaged_is_bad_data_not_a_bug(score, inputs):
    frame = pl.DataFrame({"headline": [f"Nokia posts profit {i}" for i in range(5_000)]})
    frame.write_parquet(inputs / "p.parquet", compression="uncompressed", statistics=False)
    content = bytearray((inputs / "p.parquet").read_bytes())
    content[4:400] = b"\xff" * 396
    (inputs / "p.parquet").write_bytes(content)
    done = score("p.parquet")
    assert done.code == 65
    assert done.err.startswith("finsent-batch: error: p.parquet is not a readable Parquet file")
    assert done.err.count("\n") == 1


def test_a_column_that_the_output_cannot_hold_is_met_before_scoring(score, inputs):
    with duckdb.connect(str(inputs / "d.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 'x' AS headline, INTERVAL 1 DAY AS wait")
    done = score("d.duckdb", "--table", "t", "-o", "out.parquet")
    assert done.code == 73
    assert "Parquet has no type for the column 'wait'" in done.err
    assert not (inputs / "finsent.duckdb").exists()
    assert score("d.duckdb", "--table", "t").code == 0
