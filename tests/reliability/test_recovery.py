"""Guarantees 1 to 4: killed or stopped anywhere, the same command goes on and ends the same."""

import signal

import duckdb
import polars as pl
import pytest

from finsent_batch.failpoints import PLACES

from ..helpers import stores

ROWS = 400
SLOWLY = ("--max-batch-tokens", "512", "--commit-seconds", "0", "--summary", "json")


@pytest.fixture
def night(tmp_path, run_process, tiny_model, wordy):
    """Run the command over ROWS distinct headlines, each twice, with a failpoint or without."""
    texts = wordy(ROWS)
    feed = pl.DataFrame({"id": range(2 * ROWS), "headline": texts + texts})
    feed.write_parquet(tmp_path / "feed.parquet")

    def call(output, failpoint=""):
        command = ("score", "feed.parquet", "-o", output, "--model", tiny_model, *SLOWLY)
        return run_process(
            *command, "--weights", "fp32", env={"FINSENT_FAILPOINT": failpoint} if failpoint else {}
        )

    return call


def published(file):
    """What stands there, without run_id and scored_at; None where nothing does."""
    if not file.exists():
        return None
    if file.suffix == ".duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            if not connection.execute("SHOW TABLES").fetchall():
                return None
            frame = connection.sql("FROM feed_scored").pl()
    else:
        frame = (pl.read_parquet if file.suffix == ".parquet" else pl.read_csv)(file)
    return frame.drop("run_id", "scored_at")


def committed(folder):
    store = stores.committed(folder / "finsent.duckdb")
    if not store.exists():
        return 0
    with duckdb.connect(store, read_only=True) as store:
        [(count, distinct)] = store.execute(
            "SELECT count(*), count(DISTINCT headline_key) FROM scores"
        ).fetchall()
    assert count == distinct
    return count


@pytest.mark.parametrize(
    ("output", "places"),
    [
        ("out.parquet", PLACES[:9]),
        # Up to here all outputs are alike: these runs find every score in the store.
        ("out.csv", PLACES[6:9]),
        ("out.duckdb", (PLACES[6], *PLACES[9:12])),
    ],
)
def test_killed_at_every_place_in_turn_it_goes_on(night, tmp_path, output, places):
    done = night(output)
    assert done.code == 0, done.err
    expected = published(tmp_path / output)
    assert expected["id"].to_list() == list(range(2 * ROWS))
    (tmp_path / output).unlink()
    if places[0] == PLACES[0]:
        stores.remove_store(tmp_path / "finsent.duckdb")
    before = committed(tmp_path)
    for place in places:
        # The third batch: some are committed, some are not.
        times = 3 if place in ("batch", "before_commit", "in_commit", "committed") else 1
        done = night(output, f"{place}:kill:{times}")
        assert done.code == -signal.SIGKILL, (place, done.err)
        now = published(tmp_path / output)
        whole = place in ("renamed", "table_committed")
        assert (now is not None) == whole, place
        assert now is None or now.equals(expected), place
        after = committed(tmp_path)
        assert before <= after, place
        before = after
    assert before == ROWS
    done = night(output)
    assert done.code == 0, done.err
    assert done.json["rows"]["unique_scored"] == 0
    assert published(tmp_path / output).equals(expected)
    left = {f.name for f in tmp_path.iterdir()}
    assert left == {"feed.parquet", output} | stores.FILES


def test_a_kill_costs_one_commit_interval_at_most(night, tmp_path):
    assert night("out.parquet", "committed:kill:3").code == -signal.SIGKILL
    kept = committed(tmp_path)
    assert 0 < kept < ROWS
    assert night("out.parquet", "in_commit:kill:2").code == -signal.SIGKILL
    again = committed(tmp_path) - kept
    assert again > 0  # its first commit; the second was lost, and nothing but it
    done = night("out.parquet")
    assert done.json["rows"]["unique_scored"] == ROWS - kept - again


@pytest.mark.parametrize(
    ("failpoint", "code"),
    [
        ("plan:term", 143),
        ("load_model:int", 130),
        ("batch:term:2", 143),
        ("in_commit:int:2", 130),
        ("publish:term", 143),
    ],
)
def test_asked_to_stop_it_commits_and_says_so(night, tmp_path, failpoint, code):
    done = night("out.parquet", failpoint)
    assert done.code == code, done.err
    assert "stopped on request; what was scored is kept" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert (done.json["status"], done.json["exit_code"]) == ("interrupted", code)
    assert not (tmp_path / "out.parquet").exists()
    kept = committed(tmp_path)
    assert done.json["rows"]["unique_scored"] == kept
    assert (kept > 0) == (not failpoint.startswith(("plan", "load_model")))
    assert night("out.parquet").json["rows"]["unique_scored"] == ROWS - kept
    left = {f.name for f in tmp_path.iterdir()}
    assert left == {"feed.parquet", "out.parquet"} | stores.FILES


def test_a_stop_that_comes_too_late_changes_nothing(night, tmp_path):
    assert night("out.parquet", "before_rename:term").code == 0
    assert published(tmp_path / "out.parquet").height == 2 * ROWS
