"""Nights that write their columns in another letter case than those before: one table, one count.

SQL takes such names for one, readers of Parquet files and of Delta tables for two.
"""

import shutil
from datetime import date

import duckdb
import polars as pl
import pytest

TO = {
    "table": ("-o", "news.duckdb", "--output-table", "t"),
    "days": ("-o", "lake", "--partition-by", "day"),
    "delta": ("-o", "delta:lake"),
}


def rows_of(kind):
    if kind == "table":
        with duckdb.connect("news.duckdb", read_only=True) as connection:
            return connection.sql("FROM t").pl()
    if kind == "days":
        return pl.read_parquet("lake")
    return pl.from_arrow(pytest.importorskip("deltalake").DeltaTable("lake").to_pyarrow_table())


@pytest.fixture
def nights(tmp_path):
    (tmp_path / "n1.csv").write_text("headline,stamp\nNordkap lifts its guidance,2014-01-06\n")
    (tmp_path / "n2.csv").write_text("HEADLINE,Stamp\nAcme names new CFO,2014-01-07\n")
    return tmp_path


@pytest.mark.parametrize("kind", TO)
def test_a_night_gets_the_names_of_those_before_and_its_own_days(kind, nights, score, run):
    if kind == "delta":
        pytest.importorskip("deltalake", reason="the extra delta is not installed")
    for night, column in (("n1.csv", "stamp"), ("n2.csv", "Stamp"), ("n2.csv", "Stamp")):
        summary = score(night, *TO[kind], "--append", "--date-column", column)
        assert summary["warnings"] == []
    found = rows_of(kind)
    assert found.columns[:2] == ["headline", "stamp"]
    assert set(found["headline"]) == {"Nordkap lifts its guidance", "Acme names new CFO"}
    done = run("query", "--sql", "SELECT day, headlines FROM daily_sentiment", "--format", "csv")
    assert done.out.splitlines()[1:] == ["2014-01-06,1", "2014-01-07,1"], done.err
    with duckdb.connect("finsent.duckdb", read_only=True) as store:
        days = store.sql("SELECT day, headlines FROM daily_sentiment ORDER BY 1").fetchall()
    assert days == [(date(2014, 1, 6), 1), (date(2014, 1, 7), 1)]


@pytest.mark.parametrize("kind", ["table", "days"])
def test_columns_are_read_as_recorded_however_they_are_named(kind, nights, score, run):
    reading = ("--date-format", "%Y-%d-%m")
    for night, column in (("n1.csv", "stamp"), ("n2.csv", "Stamp")):
        (nights / night).write_text((nights / night).read_text().replace("-01-", "-03-"))
        score(night, *TO[kind], "--append", "--date-column", column, *reading)
    sql = ("query", "--sql", "SELECT day, headlines FROM daily_sentiment", "--format", "csv")
    days = ["2014-06-03,1", "2014-07-03,1"]
    assert run(*sql).out.splitlines()[1:] == days
    for column in ("stamp", "STAMP"):
        done = run("query", "daily_sentiment", "--param", f"date_column={column}")
        assert [line[:12] for line in done.out.splitlines()[1:]] == days, done.err
    for name in ("news.duckdb::t", "news.duckdb::T") if kind == "table" else ("lake",):
        done = run(*sql, "--from", name)
        assert (done.out.splitlines()[1:], done.err) == (days, "")


def test_rows_recorded_under_another_case_of_a_table_are_counted(nights, score, run):
    score("n1.csv", *TO["table"], "--append", "--date-column", "stamp")
    score("n2.csv", *TO["table"], "--append", "--date-column", "Stamp")
    with duckdb.connect("finsent.duckdb") as store:  # as an earlier version recorded it
        store.execute("UPDATE run_files SET output_table = 'T' WHERE number = 2")
    shutil.copy("finsent.duckdb", "finsent.duckdb.working")
    done = run("query", "--sql", "SELECT day, headlines FROM daily_sentiment", "--format", "csv")
    assert done.out.splitlines()[1:] == ["2014-01-06,1", "2014-01-07,1"], done.err
    assert done.err == ""
