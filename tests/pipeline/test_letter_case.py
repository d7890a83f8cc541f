"""Nights that write their columns in another letter case than those before: one table, one count.

SQL takes such names for one, readers of Parquet files and of Delta tables for two.
"""

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
