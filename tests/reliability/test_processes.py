"""Runs as processes of their own: killed, stopped, cut off from the network."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from ..helpers import forks, stores

COMMAND = str(Path(sys.executable).parent / "finsent-batch")
ROWS = 600
# Small batches and a commit after each: a run of some seconds that can be hit in its middle.
SLOWLY = ["--max-batch-tokens", "64", "--commit-seconds", "0", "--summary", "json"]


@pytest.fixture
def arguments(tmp_path, tiny_model, wordy):
    """Arguments of a run over ROWS distinct headlines, each twice."""
    texts = wordy(ROWS)
    pl.DataFrame({"id": range(2 * ROWS), "headline": texts + texts}).write_parquet(
        tmp_path / "feed.parquet"
    )
    return ["score", "feed.parquet", "--model", str(tiny_model), "--weights", "fp32", *SLOWLY]


def hit(folder, arguments, number, start=subprocess.Popen):
    """Start a run, send it a signal once it has committed scores, and wait for its end.

    Gives its exit code and what it still said.
    """
    log = folder / "finsent.duckdb.working.wal"  # grows with each commit
    with start([COMMAND, "-v", *arguments], cwd=folder, stderr=subprocess.PIPE) as process:
        assert f"{ROWS} to score" in process.stderr.readline().decode()
        planned = log.stat().st_size
        deadline = time.monotonic() + 60
        while log.stat().st_size < planned + 20_000 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(number)
        said = process.stderr.read().decode()
    return process.returncode, said


def ask(folder, sql):
    with duckdb.connect(stores.committed(folder / "finsent.duckdb"), read_only=True) as store:
        return store.execute(sql).fetchall()


def labelled(folder):
    frame = pl.read_parquet(folder / "feed.scored.parquet")
    assert frame["id"].to_list() == list(range(2 * ROWS))
    return frame.drop("run_id", "scored_at")


def test_sigterm_commits_and_the_next_run_goes_on(run, tmp_path, arguments):
    code, said = hit(tmp_path, arguments, signal.SIGTERM)
    assert code == 143
    assert "stopped on request; what was scored is kept, run the same command to continue" in said
    assert "Traceback" not in said
    [(committed,)] = ask(tmp_path, "SELECT count(*) FROM scores")
    assert 0 < committed < ROWS
    assert ask(tmp_path, "SELECT status, exit_code FROM runs") == [("interrupted", 143)]
    assert not (tmp_path / "feed.scored.parquet").exists()
    done = run(*arguments)
    assert done.code == 0, done.err
    assert done.json["rows"]["unique_scored"] == ROWS - committed
    assert ask(tmp_path, "SELECT count(DISTINCT headline_key) FROM scores") == [(ROWS,)]
    assert labelled(tmp_path)["sentiment"].null_count() == 0


def test_after_kill_the_same_command_gives_the_same_table(run, tmp_path, arguments):
    assert run("--store", "whole.duckdb", *arguments).code == 0
    expected = labelled(tmp_path)
    (tmp_path / "feed.scored.parquet").unlink()

    code, _ = hit(tmp_path, arguments, signal.SIGKILL, forks.Popen)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "feed.scored.parquet").exists()
    [(committed, distinct)] = ask(
        tmp_path, "SELECT count(*), count(DISTINCT headline_key) FROM scores"
    )
    assert 0 < committed == distinct < ROWS

    done = run(*arguments)
    assert done.code == 0, done.err
    assert done.json["rows"]["unique_scored"] == ROWS - committed
    assert labelled(tmp_path).equals(expected)
    statuses = ask(tmp_path, "SELECT status FROM runs ORDER BY started_at")
    assert statuses == [("killed",), ("done",)]
    assert run("store", "verify").code == 0
    left = {f.name for f in tmp_path.iterdir()}
    whole = {"whole.duckdb", "whole.duckdb.working"}
    assert left == {"feed.parquet", "feed.scored.parquet"} | stores.FILES | whole


ALONE = """
import json, socket, sys
def refuse(*_, **__): raise SystemExit("a socket was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from finsent_batch.jobs.cli import run
code = run(sys.argv[1:])
loaded = sorted({"torch", "transformers", "sklearn"} & set(sys.modules))
print(json.dumps({"code": code, "loaded": loaded}), file=sys.stderr)
"""


def test_runs_need_no_network_and_one_with_nothing_to_score_no_torch(tmp_path, feed, tiny_model):
    arguments = ["score", "feed.parquet", "--model", tiny_model, "--weights", "fp32"]
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", ALONE, "--log-format=json", *arguments, "--summary=json"],
            cwd=tmp_path, env={}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        # Loading a model, too, says nothing on stderr but lines of JSON.
        *_, last = [json.loads(line) for line in done.stderr.splitlines()]
        said.append((json.loads(done.stdout)["rows"]["unique_scored"], last))
    assert said == [
        (8, {"code": 0, "loaded": ["torch", "transformers"]}),
        (0, {"code": 0, "loaded": []}),
    ]
