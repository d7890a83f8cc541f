"""Who reads the store and who writes to it never wait for each other."""

import json
import os
import signal
import subprocess
import sys

import duckdb
import pytest

from ..helpers.forks import COMMAND, Popen
from ..helpers.stores import FILES

READER = """
import duckdb, sys
connection = duckdb.connect("finsent.duckdb", read_only=True)
for line in sys.stdin:
    print(connection.execute("SELECT count(*) FROM scores").fetchall()[0][0], flush=True)
"""


@pytest.fixture
def night(tmp_path, tiny_model):
    """Start a run over one file, with a failpoint or without."""

    def start(source, failpoint=""):
        return Popen(
            [COMMAND, "score", source, "--model", tiny_model, "--weights", "fp32",
             "--summary", "json"],
            cwd=tmp_path, env={**os.environ, "FINSENT_FAILPOINT": failpoint},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def end(process):
    out, said = process.communicate()
    assert (process.returncode, said) == (0, "")
    return json.loads(out)


@pytest.fixture
def second(score, feed, tmp_path):
    """A store of eight scores, and a file with two more headlines."""
    score("feed.parquet")
    (tmp_path / "second.csv").write_text("headline\nOil rises\nGold falls\n")
    return "second.csv"


def test_a_session_that_reads_keeps_no_run_waiting_and_goes_on(night, second, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", READER], cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as session:  # fmt: skip

        def count():
            session.stdin.write("\n")
            session.stdin.flush()
            return int(session.stdout.readline())

        assert count() == 8
        assert end(night(second))["rows"]["unique_scored"] == 2
        assert count() == 8
        with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as other:
            assert other.execute("SELECT count(*) FROM scores").fetchall() == [(10,)]
            assert other.execute("SELECT count(*) FROM scored_headlines").fetchall() == [(14,)]
        session.stdin.close()


def test_readers_answer_at_once_while_a_run_writes(run, night, second, tmp_path):
    process = night(second, "in_commit:stop")
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    try:
        for command in (
            ("query", "label_mix", "--format", "json"), ("runs", "--format", "json"),
            ("models", "--format", "json"), ("report", "-o", "r.html"),
            ("store", "export", "-o", "backup"),
            ("query", "--sql", "SELECT count(*) AS n FROM scores", "--format", "json"),
        ):  # fmt: skip
            done = run(*command)
            assert (done.code, done.err) == (0, ""), command
        assert done.json == [{"n": 8}]
    finally:
        process.send_signal(signal.SIGCONT)
    end(process)
    done = run("query", "--sql", "SELECT count(*) AS n FROM scores", "--format", "json")
    assert done.json == [{"n": 10}]
    left = {f.name for f in tmp_path.iterdir()}
    assert left >= FILES
    assert not {name for name in left if "work." in name or name.endswith(("wal", "tmp"))}


@pytest.mark.parametrize(
    ("failpoint", "code", "scores"),
    [
        ("committed:term", 143, 10),  # asked to stop, it publishes what was scored
        ("before_rename:full", 74, 10),  # so does a run that fails
        ("committed:kill", -9, 8),
        ("snapshot:kill", -9, 8),
        ("before_snapshot:kill", -9, 8),
        ("snapshot_renamed:kill", -9, 10),
        ("snapshot_noted:kill", -9, 10),
    ],
)
def test_however_a_run_ends_readers_see_a_whole_store(
    run, night, second, tmp_path, failpoint, code, scores
):
    process = night(second, failpoint)
    process.communicate()
    assert process.returncode == code

    def count():
        with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as reader:
            return reader.execute("SELECT count(*) FROM scores").fetchall()[0][0]

    assert count() == scores
    assert run("query", "label_mix").code == 0
    assert run("store", "verify").code == 0  # takes the lock, so it publishes
    assert count() == 10
    assert end(night(second))["rows"]["unique_scored"] == 0


def test_outputs_take_no_place_of_the_store_s_files(run, feed, second, tiny_model):
    for name in sorted(FILES):
        for command in (
            ("query", "label_mix", "--format", "json", "-o", name),
            ("score", "feed.parquet", "--model", tiny_model, "--metrics-file", name),
        ):
            done = run(*command)
            assert done.code == 2, (command, done.err)
    assert run("store", "verify").code == 0
