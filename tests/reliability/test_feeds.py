"""Feeds as they really come, each through the command line: see `helpers/feeds.py`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from ..helpers.feeds import CASES, H

UNDATED = None


class Feeds:
    """One case's folder, and the command in it."""

    def __init__(self, run: Callable[..., Any], folder: Path, model: Path) -> None:
        self.run = run
        self.folder = folder
        self.model = model

    def make(self, case: str) -> None:
        CASES[case](self.folder)

    def score(self, *arguments: object, code: int = 0) -> Any:
        options = ("--model", self.model, "--weights", "fp32", "--summary", "json")
        done = self.run("score", *arguments, *options)
        assert done.code == code, done.err
        return done

    def query(self, *arguments: object, code: int = 0) -> Any:
        done = self.run("query", *arguments, "--format", "json")
        assert done.code == code, done.err
        return done

    def days(self) -> dict[str | None, int]:
        """The headlines of each day, by the command; the shell must give the same."""
        rows = self.query("daily_sentiment").json
        found = {row["day"]: row["headlines"] for row in rows}
        with duckdb.connect("finsent.duckdb", read_only=True) as shell:
            said = shell.sql("SELECT day, headlines FROM daily_sentiment").fetchall()
        assert {day and day.isoformat(): count for day, count in said} == found
        return found


@pytest.fixture
def feeds(run: Callable[..., Any], tmp_path: Path, tiny_model: Path) -> Feeds:
    return Feeds(run, tmp_path, tiny_model)


def test_int96_sentinel(feeds: Feeds) -> None:
    feeds.make("int96_sentinel")
    feeds.score("n.parquet")
    columns = "published_at, valid_to"
    expected = duckdb.sql(f"SELECT {columns} FROM 'n.parquet'").fetchall()
    assert duckdb.sql(f"SELECT {columns} FROM 'n.scored.parquet'").fetchall() == expected
    assert str(expected[0][1]) == "9999-12-31 00:00:00"


def test_folder_named_like_label(feeds: Feeds) -> None:
    feeds.make("folder_named_like_label")
    summary = feeds.score("train").json
    assert any("sentiment" in warning for warning in summary["warnings"])
    mix = {row["sentiment"]: row["rows"] for row in feeds.query("label_mix").json}
    assert mix == {label: n for label, n in summary["labels"].items() if n}
    sql = "SELECT sentiment, sentiment_score, p_negative, p_positive FROM scored_headlines"
    for row in feeds.query("--sql", sql).json:
        assert row["sentiment_score"] == pytest.approx(row["p_positive"] - row["p_negative"])
    files = [
        pl.read_parquet(f, hive_partitioning=False) for f in Path("train.scored").rglob("*.parquet")
    ]
    assert sum(f.height for f in files) == 6
    assert all(set(f["sentiment"]) <= {"negative", "neutral", "positive"} for f in files)


def test_folder_named_like_date(feeds: Feeds) -> None:
    feeds.make("folder_named_like_date")
    feeds.score("date=2014-02-01/n.parquet")
    assert feeds.days() == {"2014-01-06": 1, "2014-01-07": 1, "2014-01-08": 1}


def test_hive_feed(feeds: Feeds) -> None:
    feeds.make("hive_feed")
    feeds.score("feed", "-o", "all.duckdb", "--output-table", "h", "--append")
    assert feeds.days() == {"2014-01-06": 3, "2014-01-07": 3}


@pytest.mark.parametrize("output", ["out"])
def test_partition_columns_are_kept_in_every_form(feeds: Feeds, output: str) -> None:
    feeds.make("hive_feed")
    feeds.score("feed", "-o", output)
    assert feeds.days() == {"2014-01-06": 3, "2014-01-07": 3}


def test_capital_date(feeds: Feeds) -> None:
    feeds.make("capital_date")
    summary = feeds.score("n.csv").json
    assert summary["columns"] == [
        {
            "text_column": "headline",
            "date_column": "Date",
            "date_format": None,
            "timezone": "UTC",
            "files": 1,
        }
    ]
    assert feeds.days() == {"2014-01-06": 2, "2014-01-07": 1}


def test_other_text_column(feeds: Feeds) -> None:
    feeds.make("other_text_column")
    feeds.score("n.csv", "--text-column", "Headlines")
    assert {row["headline"] for row in feeds.query("most_negative").json} == set(H)


def test_est_and_edt(feeds: Feeds) -> None:
    feeds.make("est_and_edt")
    feeds.score("n.csv")
    assert feeds.days() == {"2014-01-07": 1, "2014-01-08": 1, "2014-07-01": 2}


def test_british_summer_time(feeds: Feeds) -> None:
    feeds.make("british_summer_time")
    done = feeds.score("n.csv")
    assert done.json["times"]["undated"] == 3
    assert any("BST is ambiguous" in warning for warning in done.json["warnings"])
    refused = feeds.query("daily_sentiment", code=65)
    assert "BST is ambiguous" in refused.err
    feeds.score("n.csv", "--timezone", "Europe/London")
    assert feeds.days() == {"2014-07-01": 3}


def test_two_digit_years(feeds: Feeds) -> None:
    feeds.make("two_digit_years")
    feeds.score("n.csv")
    assert feeds.days() == {"2014-01-06": 2, "2014-01-07": 1, "2013-12-31": 1}


def test_mixed_formats(feeds: Feeds) -> None:
    feeds.make("mixed_formats")
    summary = feeds.score("n.csv").json
    assert summary["times"] == {
        "dated": 5, "undated": 1, "faults": {"day and month could be either way round": 1}
    }  # fmt: skip
    assert feeds.days() == {"2014-01-06": 2, "2014-01-08": 1, "2014-01-09": 2, None: 1}
    assert "1 of 6 rows" in feeds.query("daily_sentiment").err
    [row] = feeds.query("quarantine").json
    assert (row["row_number"], row["content"]) == (3, "01/07/2014")
    feeds.score("n.csv", "--date-format", "mdy")
    assert feeds.days() == {"2014-01-06": 2, "2014-01-07": 1, "2014-01-08": 1, "2014-01-09": 2}


def test_delta_table(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)  # which would read it
    feeds.make("delta_table")
    assert "_delta_log" in feeds.score("news", code=65).err


def test_folder_of_many_suffixes(feeds: Feeds) -> None:
    feeds.make("folder_of_many_suffixes")
    Path("in/e.csv.bz2").unlink()
    done = feeds.score("in")
    assert done.json["rows"]["read"] == 8
    assert any("part-0001" in warning for warning in done.json["warnings"])
    assert done.json["files"] == {"read": 5, "left_out": 1, "unchanged": 0, "empty": 0}


def test_a_damaged_file_of_a_folder_is_named(feeds: Feeds) -> None:
    feeds.make("folder_of_many_suffixes")
    assert "e.csv.bz2" in feeds.score("in", code=65).err


def test_backslash_quotes(feeds: Feeds) -> None:
    feeds.make("backslash_quotes")
    for name in ("n.csv", "m.csv"):
        assert "--escape" in feeds.score(name, code=65).err
        feeds.score(name, "--escape", "\\")
    first = pl.read_parquet("n.scored.parquet")["headline"][0]
    assert first == 'Tarn "wins" a contract'
    assert pl.read_parquet("m.scored.parquet")["headline"][0] == 'Tarn "wins", says boss'


def test_quoted_first_word(feeds: Feeds) -> None:
    feeds.make("quoted_first_word")
    assert "--quote none" in feeds.score("n.csv", code=65).err
    feeds.score("n.csv", "--quote", "none")
    assert pl.read_parquet("n.scored.parquet")["headline"][0] == '"Nordkap" lifts its guidance'


def test_cp1252_labels(feeds: Feeds) -> None:
    feeds.make("cp1252_labels")
    refused = feeds.run("prepare", "n.csv", "-o", "split")
    assert refused.code == 65
    assert "encoding" in refused.err
    done = feeds.run("prepare", "n.csv", "-o", "split", "--encoding", "cp1252")
    assert done.code == 0, done.err
    assert "\u2019" in pl.read_parquet("split/train.parquet")["headline"][0]


def test_nanoseconds_in_utc(feeds: Feeds) -> None:
    feeds.make("nanoseconds_in_utc")
    feeds.score("good.csv")
    feeds.score("n.parquet")
    assert feeds.days() == {"2014-01-05": 6, "2014-01-06": 3}


def test_late_quote(feeds: Feeds) -> None:
    feeds.make("late_quote")
    feeds.score("n.parquet", "-o", "o.csv")
    assert feeds.days() == {"2014-01-06": 21_001}


def test_row_of_three_megabytes(feeds: Feeds) -> None:
    feeds.make("row_of_three_megabytes")
    feeds.score("n.parquet", "-o", "o.csv")
    assert sum(row["rows"] for row in feeds.query("label_mix").json) == 2


def test_feeds_of_two_date_columns(feeds: Feeds) -> None:
    feeds.make("feeds_of_two_date_columns")
    feeds.score("good.csv")
    feeds.score("n.parquet")
    assert feeds.days() == {"2014-01-05": 6, "2014-01-06": 1, "2014-01-07": 1, "2014-01-08": 1}
    feeds.score("n.parquet", "--date-column", "when")
    assert feeds.days()["2014-01-08"] == 1


def test_other_schema(feeds: Feeds) -> None:
    feeds.make("other_schema")
    assert feeds.score("news.duckdb", "--table", "feeds.headlines").json["rows"]["read"] == 6
    options = ("--table", "feeds.headlines", "--output-table", "marts.x")
    assert feeds.score("news.duckdb", *options).json["outputs"] == [
        f"{Path('news.duckdb').resolve()}::marts.x"
    ]
    with duckdb.connect("news.duckdb", read_only=True) as there:
        assert there.sql("SELECT count(*) FROM marts.x").fetchall() == [(6,)]


def test_view_with_its_database(feeds: Feeds) -> None:
    feeds.make("view_with_its_database")
    assert feeds.score("news.duckdb", "--table", "stg").json["rows"]["read"] == 6


def test_text_without_annotation(feeds: Feeds) -> None:
    feeds.make("text_without_annotation")
    assert feeds.score("n.parquet").json["rows"]["scored"] == 6


def test_zip_named_csv(feeds: Feeds) -> None:
    feeds.make("zip_named_csv")
    assert "n.csv is a ZIP archive" in feeds.score("n.csv", code=65).err
    summary = feeds.score("g.csv").json
    assert summary["rows"]["scored"] == 60
    assert any("gzip" in warning for warning in summary["warnings"])


def test_trailing_delimiter(feeds: Feeds) -> None:
    feeds.make("trailing_delimiter")
    summary = feeds.score("n.csv").json
    assert summary["rows"]["scored"] == 3
    assert any("delimiter" in warning for warning in summary["warnings"])
    assert pl.read_parquet("n.scored.parquet").columns[:4] == [
        "id",
        "headline",
        "source",
        "sentiment",
    ]


def test_every_case_has_a_test() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert set(CASES) <= tested
