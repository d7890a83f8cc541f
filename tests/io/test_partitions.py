"""Columns that only folders name."""

import polars as pl
import pytest

from finsent_batch.io.parquet import ParquetSource
from finsent_batch.io.partitions import PartitionedSource, partition_values


@pytest.fixture
def partitioned(tmp_path):
    def make(folders, **columns):
        file = tmp_path / "n.parquet"
        pl.DataFrame({"headline": ["Oil falls", "Oil rises"], **columns}).write_parquet(file)
        return PartitionedSource(ParquetSource(file), partition_values(folders.split("/")))

    return make


@pytest.mark.parametrize(
    ("folders", "day"),
    [
        ("year=2014/month=01/day=06", "2014-01-06"),
        ("Year=2014/desk=eu/MONTH=1/Day=6", "2014-01-06"),
        ("year=2014/month=2/day=30", None),
        ("year=2014/month=01/day=__HIVE_DEFAULT_PARTITION__", None),
    ],
)
def test_year_month_and_day_make_a_date(partitioned, folders, day):
    source = partitioned(folders)
    rows = pl.concat([pl.from_arrow(batch) for batch in source.batches()])
    assert rows["date"].to_list() == [day, day]
    assert rows.columns == source.schema.names
    assert set(partition_values(folders.split("/"))) < set(rows.columns)


def test_no_date_is_made_beside_one_or_of_two_parts(partitioned):
    assert "date" not in partitioned("year=2014/month=01").schema.names
    own = partitioned("year=2014/month=01/day=06", published_at=["2014-01-05T23:00:00Z"] * 2)
    assert own.schema.names == ["headline", "published_at", "year", "month", "day"]
    folder = partitioned("year=2014/month=01/day=06/dt=2014-01-07")
    assert folder.schema.names == ["headline", "year", "month", "day", "dt"]


def test_daily_numbers_of_folders_by_year_month_and_day(run, tiny_model, tmp_path):
    for day in ("06", "07"):
        folder = tmp_path / "feed" / "year=2014" / "month=01" / f"day={day}"
        folder.mkdir(parents=True)
        frame = pl.DataFrame({"headline": [f"Oil falls {day}", "Oil rises"]})
        frame.write_parquet(folder / "n.parquet")
    arguments = ("-o", "all", "--append", "--partition-by", "day", "--summary", "json")
    done = run("score", "feed", "--model", tiny_model, *arguments)
    assert done.code == 0, done.err
    assert done.json["columns"][0]["date_column"] == "date"
    days = run("query", "daily_sentiment", "--format", "json").json
    assert {row["day"]: row["headlines"] for row in days} == {"2014-01-06": 2, "2014-01-07": 2}
