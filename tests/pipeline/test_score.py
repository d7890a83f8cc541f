"""A `score` run: what it counts, what it reuses, how it is planned and stopped."""

import json

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.errors import InterruptedRunError
from finsent_batch.pipeline.score import score as run_score
from finsent_batch.progress import StopRequest


def ask(folder, sql):
    with duckdb.connect(folder / "finsent.duckdb", read_only=True) as store:
        return store.execute(sql).fetchall()


# ---- the summary


def test_summary_has_every_promised_field(score, feed, tmp_path, tiny_model):
    found = score("feed.parquet")
    assert found["schema_version"] == 1
    assert (found["status"], found["exit_code"]) == ("done", 0)
    assert (found["input"], found["output"]) == ("feed.parquet", "feed.scored.parquet")
    assert found["model"] == str(tiny_model)
    assert len(found["model_fingerprint"]) == 32
    assert found["device"] == "cpu"
    assert found["run_id"][14] == "7"
    assert set(found["seconds"]) == {"plan", "load_model", "score", "publish", "total"}
    assert found["tokens"] > 8
    assert found["headlines_per_second"] > 0
    assert found["peak_rss_mb"] > 10
    assert found["peak_vram_mb"] is None
    assert found["warnings"] == []


def test_rows_add_up(score, feed):
    rows = score("feed.parquet")["rows"]
    assert rows == {
        "read": 12, "scored": 10, "reused": 2, "duplicate": 2, "truncated": 0,
            "empty": 2, "invalid": 0, "unique_scored": 8,
    }  # fmt: skip


def test_every_status_is_counted_and_published(score, tmp_path):
    long = "profit rises " * 60
    texts = [b"Oil falls", b"Sales \xff rise", None, b" ", long.encode(), b"Oil falls"]
    column = pa.array(texts, pa.binary()).view(pa.string())
    pq.write_table(pa.table({"headline": column}), tmp_path / "odd.parquet")
    found = score("odd.parquet")
    rows = found["rows"]
    assert rows == {
        "read": 6, "scored": 2, "reused": 1, "duplicate": 1, "truncated": 1,
            "empty": 2, "invalid": 1, "unique_scored": 2,
    }  # fmt: skip
    assert rows["read"] == sum(rows[s] for s in ("scored", "truncated", "empty", "invalid"))
    assert sum(found["labels"].values()) == rows["scored"] + rows["truncated"]
    published = pq.read_table(tmp_path / "odd.scored.parquet")
    assert published["score_status"].to_pylist() == [
        "scored", "invalid", "empty", "empty", "truncated", "scored",
    ]  # fmt: skip
    [(number, reason)] = ask(tmp_path, "SELECT row_number, reason FROM quarantine")
    assert (number, reason) == (2, "the text is not valid UTF-8")


def test_the_run_is_in_the_store(score, feed, tmp_path):
    found = score("feed.parquet")
    columns = "run_id, status, exit_code, rows_read, rows_reused, unique_scored, summary"
    [row] = ask(tmp_path, f"SELECT {columns} FROM runs")
    assert row[:-1] == (found["run_id"], "done", 0, 12, 2, 8)
    assert json.loads(row[-1])["labels"] == found["labels"]
    assert ask(tmp_path, "SELECT count(*), count(DISTINCT headline_key) FROM scores") == [(8, 8)]


# ---- reuse


def test_a_second_run_scores_nothing_and_says_so(score, feed, tmp_path):
    first = score("feed.parquet")
    before = pl.read_parquet(tmp_path / "feed.scored.parquet")
    found = score("feed.parquet")
    assert found["rows"]["unique_scored"] == 0
    assert found["rows"]["reused"] == 10
    assert found["headlines_per_second"] is None
    assert found["seconds"]["load_model"] == 0
    # The rows still name the run that computed them.
    assert pl.read_parquet(tmp_path / "feed.scored.parquet").equals(before)
    assert set(before["run_id"].drop_nulls()) == {first["run_id"]}


def test_a_headline_is_reused_in_another_file_however_it_is_spaced(score, feed, tmp_path):
    score("feed.parquet")
    other = ["  Oil\u00a0 falls ", "Oil falls\x00", "Oil falls!", "Bank cuts jobs"]
    pl.DataFrame({"title": other}).write_csv(tmp_path / "other.csv")
    rows = score("other.csv", "-o", "other.csv.parquet")["rows"]
    assert (rows["scored"], rows["reused"], rows["unique_scored"]) == (4, 3, 1)
    assert ask(tmp_path, "SELECT count(*) FROM scores") == [(9,)]


def test_files_of_one_run_share_their_headlines(score, feed, tmp_path):
    folder = tmp_path / "news"
    folder.mkdir()
    for name in ("a.parquet", "b.parquet"):
        feed.write_parquet(folder / name)
    rows = score("news")["rows"]
    assert (rows["read"], rows["scored"], rows["unique_scored"]) == (24, 20, 8)


# ---- planning without doing


def listing(folder):
    return sorted((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in folder.iterdir())


def test_dry_run_writes_nothing(score, feed, tmp_path):
    before = listing(tmp_path)
    found = score("feed.parquet", "--dry-run")
    assert listing(tmp_path) == before
    assert (found["rows"], found["distinct"], found["files"]) == (12, 8, 1)
    assert (found["already_scored"], found["to_score"]) == (0, 8)
    assert found["headlines_per_second"] > 0
    assert found["estimated_seconds"] is not None


def test_dry_run_tells_what_the_run_then_does(score, feed, tmp_path):
    score("feed.parquet", "--limit", 4, "-o", "some.parquet")
    before = listing(tmp_path)
    plan = score("feed.parquet", "--dry-run")
    assert listing(tmp_path) == before
    assert (plan["already_scored"], plan["to_score"]) == (3, 5)
    done = score("feed.parquet")
    assert done["rows"]["unique_scored"] == plan["to_score"]
    assert done["tokens"] == plan["tokens"]
    nothing = score("feed.parquet", "--dry-run")
    assert (nothing["to_score"], nothing["tokens"], nothing["estimated_seconds"]) == (0, 0, 0)


def test_dry_run_stops_where_the_run_would(run, feed, tiny_model, tmp_path):
    (tmp_path / "feed.scored.parquet").write_text("mine")
    done = run("score", "feed.parquet", "--model", tiny_model, "--weights", "fp32", "--dry-run")
    assert done.code == 73
    assert "is not an output of this input" in done.err


# ---- stopping


def test_a_stop_keeps_what_was_scored_and_the_next_run_goes_on(tmp_path, tiny_model, wordy):
    file = tmp_path / "feed.parquet"
    pl.DataFrame({"headline": wordy(400)}).write_parquet(file)
    config = ScoreConfig(
        input=str(file),
        model=ModelConfig(model=str(tiny_model), weights="fp32", max_batch_tokens=64),
        store=StoreConfig(path=tmp_path / "finsent.duckdb"),
        commit_seconds=0,
    )
    stop = StopRequest()

    def progress(stage, done, total):
        if stage == "score" and done >= 100:
            stop.signal = 2

    with pytest.raises(InterruptedRunError, match="what was scored is kept") as caught:
        run_score(config, progress=progress, stop=stop)
    assert caught.value.exit_code == 130
    assert not (tmp_path / "feed.scored.parquet").exists()
    [(committed,)] = ask(tmp_path, "SELECT count(*) FROM scores")
    assert 100 <= committed < 400
    assert ask(tmp_path, "SELECT status, exit_code FROM runs") == [("interrupted", 130)]
    assert run_score(config).rows["unique_scored"] == 400 - committed
    assert pl.read_parquet(tmp_path / "feed.scored.parquet")["sentiment"].null_count() == 0
