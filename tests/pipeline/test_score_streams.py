"""`score - -o -`: standard input is known by its content or a name, standard output is whole."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import polars as pl
import pytest

from ..helpers import forks
from ..helpers.terminal import in_terminal

COMMAND = str(Path(sys.executable).parent / "finsent-batch")
NEWS = b"id,headline\n1,Oil falls\n2,Bank cuts jobs\n3,\n"


@pytest.fixture
def pipe(run, tmp_path, tiny_model, monkeypatch):
    """Run `score` with bytes on its standard input."""

    def call(content: bytes, *arguments):
        (tmp_path / ".piped").write_bytes(content)
        with (tmp_path / ".piped").open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            return run("score", *arguments, "--model", tiny_model, "--weights", "fp32")

    return call


def records(done) -> list[dict]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_csv_goes_through_as_csv_and_only_that(pipe):
    done = pipe(NEWS, "-", "--input-format", "csv")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("id,headline,sentiment,sentiment_score,")
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert "3 rows: 2 labelled" in done.err  # the summary is not in the way


def test_every_format_in_and_out(pipe, tmp_path):
    frame = pl.read_csv(NEWS)
    frame.write_parquet(tmp_path / "n.parquet")
    given = {
        "csv": NEWS,
        "tsv": NEWS.replace(b",", b"\t"),
        "jsonl": frame.write_ndjson().encode(),
        "parquet": (tmp_path / "n.parquet").read_bytes(),
    }
    for kind, content in given.items():
        to = ("-o", "-", "--output-format", "jsonl")
        found = records(pipe(content, "-", "--input-format", kind, *to))
        assert [str(row["id"]) for row in found] == ["1", "2", "3"]
        assert found[0]["sentiment"]
    assert not [f for f in tmp_path.iterdir() if "scored" in f.name]


def test_parquet_goes_out_as_parquet(tmp_path, tiny_model):
    frame = pl.read_csv(NEWS)
    frame.write_parquet(tmp_path / "n.parquet")
    command = [COMMAND, "score", "n.parquet", "-o", "-", "--model", tiny_model]
    done = forks.run(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(done.stdout).select("id", "headline").equals(frame)


def test_the_json_summary_is_on_stderr_when_rows_are_on_stdout(pipe):
    done = pipe(NEWS, "-", "--input-format", "csv", "--summary", "json")
    summary = json.loads(done.err)
    assert summary["outputs"] == [summary["output"]] == ["-"]
    assert summary["input"] == "-"
    assert done.out.startswith("id,")


def test_the_same_rows_again_replace_themselves_and_others_are_added(pipe, tmp_path):
    to = ("-o", "news.duckdb", "--output-table", "t", "--append", "--input-format", "csv")
    for content in (NEWS, NEWS, NEWS + b"4,Sales miss forecast\n"):
        assert pipe(content, "-", *to).code == 0
    count = "SELECT count(*), count(DISTINCT input_file) FROM t"
    with duckdb.connect(str(tmp_path / "news.duckdb"), read_only=True) as connection:
        assert connection.execute(count).fetchone() == (3 + 4, 2)


def test_what_comes_again_under_its_name_replaces_what_it_was(pipe, run, tmp_path):
    to = ("-o", "news.duckdb", "--output-table", "t", "--append", "--input-format", "csv")
    for content in (NEWS, NEWS + b"4,Sales miss forecast\n"):
        assert pipe(content, "-", *to, "--input-name", "monday").code == 0
    with duckdb.connect(str(tmp_path / "news.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT DISTINCT input_file FROM t").fetchall()
        assert found == [("stdin://monday",)]
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (4,)
    mix = run("query", "--sql", "SELECT count(*) AS n FROM scored_headlines", "--format", "csv")
    assert mix.out == "n\n4\n"
    assert run("store", "forget", "stdin://monday").code in (0, 2)  # known or no such command


def test_a_file_is_not_replaced_by_other_rows_unless_they_have_its_name(pipe):
    to = ("-", "--input-format", "csv", "-o", "o.parquet")
    other = NEWS + b"4,Sales miss forecast\n"
    assert [pipe(c, *to).code for c in (NEWS, NEWS, other)] == [0, 0, 73]
    named = (*to, "--input-name", "feed")
    assert pipe(NEWS, *named).code == 73  # it was made without that name
    assert pipe(NEWS, *named, "--overwrite").code == 0
    assert pipe(other, *named).code == 0


def test_piped_input_in_a_folder_with_others(pipe, tmp_path):
    (tmp_path / "a.csv").write_bytes(NEWS)
    options = ("--input-format", "csv", "-o", "out", "--input-name", "night/b.csv")
    assert pipe(NEWS, "a.csv", "-", *options).code == 0
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [
        "a.scored.parquet",
        "b.scored.parquet",
    ]


@pytest.mark.parametrize(
    ("content", "arguments", "code", "said"),
    [
        (NEWS, ("-",), 2, "say what standard input is with --input-format csv|tsv|jsonl|parquet"),
        (b"", ("-", "--input-format", "csv"), 65, "nothing came on standard input"),
        (b"a\n1\n", ("-", "--input-format", "csv"), 65, "stdin://"),
        (b"a,headline\n1\n", ("-", "--input-format", "csv"), 65, "stdin://monday line 2: 1 fie"),
        (NEWS, ("-", "--input-format", "parquet"), 65, "is not a readable Parquet file"),
        (NEWS, ("-", "--input-format", "csv", "--input-name", ""), 2, "--input-name is empty"),
        (b"", (".", "-o", "-"), 2, "standard output (-o -) takes one input"),
        (b"", ("*.csv", "-o", "-"), 2, "standard output (-o -) takes one input"),
        (b"", ("gone.csv", "-o", "-"), 66, "gone.csv does not exist"),
    ],
)
def test_streams_that_cannot_be_meant(pipe, content, arguments, code, said):
    name = ("--input-name", "monday") if "monday" in said else ()
    done = pipe(content, *arguments, *name)
    assert done.code == code, done.err
    assert said in done.err
    assert "finsent-fetched" not in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_a_reader_that_closes_the_pipe_is_no_failure(tmp_path):
    (tmp_path / "n.csv").write_bytes(NEWS + b"".join(b"%d,Oil falls\n" % i for i in range(20_000)))
    command = [COMMAND, "-q", "score", "n.csv", "-o", "-"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.read(10) == b"id,headlin"
        process.stdout.close()
        assert process.wait(300) == 0
        assert process.stderr.read() == b""


def test_waiting_for_standard_input_can_be_interrupted(tmp_path, tiny_model):
    command = [COMMAND, "score", "-", "--input-format", "csv", "--model", str(tiny_model)]
    reading, writing = os.pipe()
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        os.close(reading)
        os.write(writing, NEWS)
        descriptors = Path(f"/proc/{process.pid}/fd")
        for _ in range(3000):  # until it reads: then its handlers are set
            with suppress(FileNotFoundError):
                if any("finsent-fetched" in str(f.readlink()) for f in descriptors.iterdir()):
                    break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
        os.close(writing)
        assert process.stdout.read() == b""


def test_a_terminal_shows_text_alone(tmp_path):
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "n.parquet")
    command = [sys.executable, "-m", "finsent_batch", "score", "n.parquet", "-o", "-"]
    code, lines = in_terminal(command, tmp_path)
    assert code == 2
    said = " ".join(lines)
    assert "parquet is nothing for a terminal: write to a file or a pipe, or choose" in said
