"""Two at once: a store or an output that somebody else holds. Locks die with their process."""

import os
import signal
import subprocess
import sys

import duckdb
import pytest

from ..helpers.forks import COMMAND, Popen

READER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path, feed, tiny_model):
    """Start a run on the feed; it is killed at the end of the test if it still lives."""
    started = []

    def call(*arguments, before=(), failpoint=""):
        process = Popen(
            [COMMAND, *before, "score", "feed.parquet", *arguments, "--model", tiny_model,
             "--weights", "fp32", "--summary", "json"],
            cwd=tmp_path, env={**os.environ, "FINSENT_FAILPOINT": failpoint},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def holder(start):
    """A run that has stopped, alive, in the middle of scoring."""
    process = start("-o", "first.parquet", failpoint="batch:stop")
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    return process


@pytest.fixture
def reader():
    """An analyst who has a DuckDB file open to read it."""
    held = []

    def call(file):
        process = subprocess.Popen(
            [sys.executable, "-c", READER, str(file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        held.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield call
    for process in held:
        process.communicate()


def test_the_second_run_names_the_first(holder, start):
    second = start("-o", "second.parquet")
    _, said = second.communicate()
    assert second.returncode == 75
    assert f"finsent.duckdb is in use by process {holder.pid} " in said
    assert said.count("\n") == 1


def test_the_second_run_waits_for_the_first(holder, start, tmp_path):
    second = start("-o", "second.parquet", before=("--lock-wait", "600"))
    assert f"waiting up to 600 seconds: the store {tmp_path}" in second.stderr.readline()
    holder.send_signal(signal.SIGCONT)
    assert holder.wait() == 0
    out, said = second.communicate()
    assert (second.returncode, said) == (0, "")
    assert '"unique_scored": 0' in out


def test_the_lock_of_a_killed_run_dies_with_it(holder, start):
    second = start("-o", "second.parquet", before=("--lock-wait", "600"))
    assert "waiting up to" in second.stderr.readline()
    holder.kill()
    out, said = second.communicate()
    assert (second.returncode, said) == (0, "")
    assert '"unique_scored": 8' in out


def test_a_run_that_waits_can_be_stopped(holder, start):
    second = start(before=("--lock-wait", "600"))
    assert "waiting up to" in second.stderr.readline()
    second.terminate()
    _, said = second.communicate()
    assert second.returncode == 143
    assert "stopped on request" in said


def test_an_output_that_is_being_read_costs_no_scores(start, reader, tmp_path):
    duckdb.connect(str(tmp_path / "out.duckdb")).close()
    analyst = reader(tmp_path / "out.duckdb")
    first = start("-o", "out.duckdb", "--publish-wait", "0.3")
    out, said = first.communicate()
    assert first.returncode == 75
    early, late, last = said.splitlines()
    held = f"out.duckdb is in use by process {analyst.pid} "
    assert "scoring continues, but the output is in use" in early
    assert "waiting up to 0.3 seconds" in late
    assert "finsent-batch: error: " in last
    assert all(held in line for line in (early, late, last))
    assert '"unique_scored": 8' in out
    analyst.communicate()
    second = start("-o", "out.duckdb", failpoint="load_model:kill")  # needs no model
    out, said = second.communicate()
    assert (second.returncode, said) == (0, "")
    assert '"unique_scored": 0' in out
    with duckdb.connect(str(tmp_path / "out.duckdb")) as connection:
        assert connection.execute("SELECT count(*) FROM feed_scored").fetchall() == [(12,)]


@pytest.mark.parametrize("end", ["closes", "is killed"])
def test_an_output_is_published_when_its_reader_ends(start, reader, tmp_path, end):
    duckdb.connect(str(tmp_path / "out.duckdb")).close()
    analyst = reader(tmp_path / "out.duckdb")
    run = start("-o", "out.duckdb", "--publish-wait", "600")
    assert "scoring continues" in run.stderr.readline()
    assert "waiting up to 600 seconds" in run.stderr.readline()
    analyst.kill() if end == "is killed" else analyst.communicate()
    _, said = run.communicate()
    assert (run.returncode, said) == (0, "")


def test_somebody_else_s_table_is_safe_though_it_was_locked_at_first(start, reader, tmp_path):
    with duckdb.connect(str(tmp_path / "out.duckdb")) as connection:
        connection.execute("CREATE TABLE feed_scored AS SELECT 1 AS mine")
    # Held for writing, it cannot even be looked at before scoring.
    code = READER.replace(", read_only=True", "")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out.duckdb")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as owner:  # fmt: skip
        assert owner.stdout.readline() == "held\n"
        run = start("-o", "out.duckdb", "--publish-wait", "600")
        assert "scoring continues" in run.stderr.readline()
        assert "waiting up to" in run.stderr.readline()
        owner.stdin.close()
    _, said = run.communicate()
    assert run.returncode == 73
    assert "exists and is not an output of this input" in said
    with duckdb.connect(str(tmp_path / "out.duckdb")) as connection:
        assert connection.execute("FROM feed_scored").fetchall() == [(1,)]
