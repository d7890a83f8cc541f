"""`score --min-confidence`: the label where it is sure enough, and how many rows that covers."""

import polars as pl
import pytest

from finsent_batch.io.result_columns import RESULT_SCHEMA


def read(tmp_path, name="feed.scored"):
    return pl.read_parquet(tmp_path / f"{name}.parquet")


@pytest.fixture
def plain(score, feed, tmp_path):
    """The feed as scored without the option; its probabilities do not change with it."""
    summary = score("feed.parquet")
    assert summary["confidence"] is None
    return read(tmp_path)


def sure(frame, bound):
    return pl.max_horizontal("p_negative", "p_neutral", "p_positive") >= pl.lit(bound, pl.Float32)


def test_labels_stay_and_unsure_ones_are_null_in_a_column_of_their_own(plain, score, tmp_path):
    confidence = plain.select(pl.max_horizontal(pl.col("^p_.*$"))).to_series().drop_nulls()
    bound = float(confidence.sort()[len(confidence) // 2])
    summary = score("feed.parquet", "--min-confidence", bound)
    found = read(tmp_path)
    assert found.columns == [*plain.columns, "sentiment_confident"]
    assert found.drop("sentiment_confident").equals(plain)
    expected = plain.select(pl.when(sure(plain, bound)).then("sentiment")).to_series()
    assert found["sentiment_confident"].to_list() == expected.to_list()
    covered = len(expected.drop_nulls())
    labelled = summary["rows"]["scored"] + summary["rows"]["truncated"]
    assert 0 < covered < labelled
    assert summary["confidence"] == {
        "min_confidence": bound,
        "confident": covered,
        "coverage": round(covered / labelled, 4),
    }


@pytest.mark.parametrize(("bound", "coverage"), [("0.001", 1.0), ("1", 0.0)])
def test_the_ends_of_the_range(plain, score, tmp_path, bound, coverage):
    summary = score("feed.parquet", "--min-confidence", bound)
    assert summary["confidence"]["coverage"] == coverage
    assert read(tmp_path)["sentiment_confident"].null_count() == (2 if coverage else 12)


def test_a_bound_is_met_by_the_probability_that_prints_like_it(run, scored_table, tmp_path, score):
    # 0.7 in single precision is a little below 0.7.
    from finsent_batch.config import StoreConfig
    from finsent_batch.store.store import Store

    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "one.parquet")
    score("one.parquet")
    with Store.open(StoreConfig(path=tmp_path / "finsent.duckdb")) as store:
        store.connection.execute(
            "UPDATE scores SET p_negative = 0.7, p_neutral = 0.2, p_positive = 0.1"
        )
    assert score("one.parquet", "--min-confidence", "0.7")["confidence"]["coverage"] == 1.0
    assert score("one.parquet", "--min-confidence", "0.701")["confidence"]["coverage"] == 0.0


@pytest.mark.parametrize("suffix", ["csv", "duckdb"])
def test_other_formats(plain, score, tmp_path, suffix, run):
    score("feed.parquet", "-o", f"out.{suffix}", "--min-confidence", "0.001")
    done = run("query", "--sql", "SELECT count(sentiment_confident) AS n FROM scored_headlines",
               "--from", "out.csv" if suffix == "csv" else "out.duckdb::feed_scored")  # fmt: skip
    assert done.out == "n\n10\n", done.err


def test_a_table_that_has_the_column_already(plain, score, run, tmp_path):
    score("feed.parquet", "--min-confidence", "0.001", "-o", "again.parquet")
    done = run("score", "again.parquet", "-o", "third.parquet")
    assert done.code == 65
    assert "already has the column 'sentiment'" in done.err
    score("again.parquet", "-o", "third.parquet", "--replace-columns")
    assert read(tmp_path, "third").columns == plain.columns
    assert read(tmp_path, "third").columns[-9:] == RESULT_SCHEMA.names


def test_what_is_printed(run, feed, tiny_model):
    command = ("score", "feed.parquet", "--model", tiny_model, "--weights", "fp32")
    done = run(*command, "--min-confidence", "0.001")
    assert "confidence of at least 0.001: 10 rows, coverage 100.0%" in done.out
    assert "confidence of at least" not in run(*command).out


@pytest.mark.parametrize("bound", ["0", "1.1", "-1", "high"])
def test_a_bound_that_is_no_probability(run, feed, bound):
    done = run("score", "feed.parquet", "--min-confidence", bound)
    assert done.code == 2
    assert "--min-confidence" in done.err


@pytest.mark.parametrize("to", [("news.duckdb", "--output-table", "t"), ("delta:news",)])
def test_nights_that_share_a_table_have_the_column_or_are_told(score, run, feed, tmp_path, to):
    if to[0].startswith("delta:"):
        pytest.importorskip("deltalake", reason="the extra delta is not installed")
    feed.write_parquet(tmp_path / "second.parquet")
    sure = ("--min-confidence", "0.001")

    def refused(*options):
        done = run("score", "second.parquet", "-o", *to, "--append", "--model", "mini", *options)
        assert done.code == 73, done.err
        return done.err

    score("feed.parquet", "-o", *to, "--append")
    assert "--on-new-columns add" in refused(*sure)
    to = (to[0].replace("news", "other"), *to[1:])
    collected = score("feed.parquet", "second.parquet", "-o", *to, "--append", *sure)
    assert collected["confidence"]["coverage"] == 1.0
    assert score("feed.parquet", "-o", *to, "--append", *sure)["rows"]["unique_scored"] == 0
    assert "--on-missing-columns null" in refused()
    score("second.parquet", "-o", *to, "--append", "--on-missing-columns", "null")
