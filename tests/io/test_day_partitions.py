"""`--append --partition-by day`: a folder of Parquet by days, each row of each input there once."""

import os
import signal

import duckdb
import polars as pl
import pyarrow.dataset
import pytest

from finsent_batch.io.append.day_files import locked

from ..helpers import forks

TO = ("-o", "lake", "--append", "--partition-by", "day")
MONDAY = ["2014-01-06 09:30", "2014-01-07 00:30", "no time", None]


@pytest.fixture
def night(tmp_path):
    """Write a night's file of headlines at these times; columns by name come with them."""

    def write(name, times, **columns):
        texts = [f"{word} falls" for word in ("Oil", "Bank", "Sales", "Deal")[: len(times)]]
        frame = pl.DataFrame({"headline": texts, "published_at": times, **columns})
        frame.write_parquet(tmp_path / f"{name}.parquet")

    return write


def by_duckdb(folder, more=""):
    files = f"read_parquet('{folder}/lake/**/*.parquet'{more})"
    sql = f"SELECT CAST(day AS VARCHAR), headline FROM {files} ORDER BY ALL"
    return duckdb.sql(sql).fetchall()


def days(folder):
    return sorted(path.name.removeprefix("day=") for path in (folder / "lake").iterdir())


def test_every_reader_of_hive_folders_sees_the_day_and_each_row_once(score, run, night, tmp_path):
    night("mon", MONDAY)
    night("tue", MONDAY[1:3])
    for name in ("mon", "tue"):
        score(f"{name}.parquet", *TO, "--timezone", "Europe/Berlin", "--no-default-gates")
    assert days(tmp_path) == ["2014-01-06", "__HIVE_DEFAULT_PARTITION__"]  # 00:30 is 23:30 UTC
    expected = [
        ("2014-01-06", "Bank falls"),
        ("2014-01-06", "Oil falls"),
        ("2014-01-06", "Oil falls"),
        (None, "Bank falls"),
        (None, "Deal falls"),
        (None, "Sales falls"),
    ]
    assert by_duckdb(tmp_path) == expected
    for frame in (
        pl.read_parquet(tmp_path / "lake"),
        pl.from_arrow(pyarrow.dataset.dataset(tmp_path / "lake", partitioning="hive").to_table()),
    ):
        rows = frame.select(pl.col("day").cast(pl.String), "headline").rows()
        assert sorted(rows, key=lambda row: (row[0] is None, row)) == expected
    told = run("query", "daily_sentiment", "--format", "json").json
    assert [(row["day"], row["headlines"]) for row in told] == [("2014-01-06", 3), (None, 3)]
    told = run("query", "daily_sentiment", "--from", "lake", "--format", "json").json
    assert [(row["day"], row["headlines"]) for row in told] == [("2014-01-06", 3), (None, 3)]

    # The same input again replaces its own files alone; a day that it leaves is gone.
    night("mon", ["2014-01-08"])
    score("mon.parquet", *TO)
    assert days(tmp_path) == ["2014-01-06", "2014-01-08", "__HIVE_DEFAULT_PARTITION__"]
    assert len(by_duckdb(tmp_path)) == 3
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        kept = store.execute("SELECT count(*) FROM scored_headlines").fetchone()
    assert kept == (3,)


def test_rows_come_back_to_the_letter(score, tmp_path, headlines):
    headlines.write_parquet(tmp_path / "a.parquet")
    score("a.parquet", *TO)
    score("a.parquet", "-o", "a.scored.parquet")
    assert len(days(tmp_path)) == 2  # no time column: the day of the scoring, or none
    whole = pl.read_parquet(tmp_path / "a.scored.parquet")
    files = sorted((tmp_path / "lake").rglob("*.parquet"))
    back = pl.concat(pl.read_parquet(file, hive_partitioning=False) for file in files)
    assert back.sort("id").drop("run_id").equals(whole.drop("run_id"))


def test_a_run_killed_between_two_days_is_completed_by_whoever_reads_next(
    score, run, night, tmp_path, tiny_model
):
    night("mon", ["2014-01-06", "2014-01-07", "2014-01-08"])
    score("mon.parquet", *TO)
    night("mon", ["2014-01-07", "2014-01-08", "2014-01-09"])
    command = [forks.COMMAND, "score", "mon.parquet", *TO]
    ended = forks.run(
        [*command, "--model", tiny_model, "--weights", "fp32"],
        cwd=tmp_path,
        env={**os.environ, "FINSENT_FAILPOINT": "day_renamed:kill:2"},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    half = days(tmp_path)
    assert "2014-01-06" in half  # its file goes last
    told = run("query", "daily_sentiment", "--format", "json").json
    assert [row["day"] for row in told] == days(tmp_path)
    assert days(tmp_path) == ["2014-01-07", "2014-01-08", "2014-01-09"]
    score("mon.parquet", *TO)
    assert by_duckdb(tmp_path) == [
        ("2014-01-07", "Oil falls"),
        ("2014-01-08", "Bank falls"),
        ("2014-01-09", "Sales falls"),
    ]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_feed_that_is_by_days_itself_gives_its_days(score, run, tmp_path):
    for day in ("2024-01-02", "2024-01-03"):
        folder = tmp_path / "feed" / f"day={day}"
        folder.mkdir(parents=True)
        pl.DataFrame({"headline": [f"Oil falls {day}"]}).write_parquet(folder / "a.parquet")
    score("feed", *TO, "--date-column", "day")
    assert by_duckdb(tmp_path, ", hive_partitioning = true") == [
        (day, f"Oil falls {day}") for day in ("2024-01-02", "2024-01-03")
    ]
    for source in ((), ("--from", "lake")):
        told = run("query", "daily_sentiment", *source, "--format", "json").json
        assert [(row["day"], row["headlines"]) for row in told] == [
            ("2024-01-02", 1),
            ("2024-01-03", 1),
        ]


def test_more_days_than_files_at_once(score, night, tmp_path, monkeypatch):
    times = ["2014-01-09", "2014-01-06", "2014-01-08", "2014-01-07"]
    monkeypatch.setattr("finsent_batch.io.append.day_rows.FILES_AT_ONCE", 1)
    night("mon", times)
    score("mon.parquet", *TO)
    assert [day for day, _ in by_duckdb(tmp_path)] == sorted(times) == days(tmp_path)
    frame = pl.read_parquet(tmp_path / "mon.parquet").sort("published_at")
    back = pl.read_parquet(tmp_path / "lake").select("headline", "published_at")
    assert back.sort("published_at").equals(frame)


REFUSED = (
    (("--partition-by", "day", "-o", "lake"), 2, "add --append"),
    ((*TO[2:], "-o", "lake.parquet"), 2, "name it with -o"),
    ((*TO, "--on-changed-types", "cast"), 2, "keeps each input's columns"),
    ((*TO, "--output-format", "csv"), 2, "leave out --output-table and --output-format"),
    ((*TO[2:], "-o", "."), 2, "holds the input itself"),
    ((*TO[2:], "-o", "other"), 73, "such as a: name another folder"),
    ((*TO[2:], "-o", "other/a"), 73, "is a file: name a folder"),
    ((*TO, "--limit", "1"), 73, "holds the whole of"),
)


def test_what_is_refused_leaves_the_folder(score, run, night, tmp_path, tiny_model):
    night("mon", ["2014-01-06"])
    score("mon.parquet", *TO)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a").touch()
    for options, code, said in REFUSED:
        done = run("score", "mon.parquet", *options, "--model", tiny_model, "--weights", "fp32")
        assert (done.code, said in done.err) == (code, True), (options, done.err)
    assert by_duckdb(tmp_path) == [("2014-01-06", "Oil falls")]


def test_columns_that_differ_are_refused_or_taken_as_they_are(
    score, run, night, tmp_path, tiny_model
):
    night("mon", ["2014-01-06"], price=[1], desk=["a"])
    night("tue", ["2014-01-07"], price=[2], region=["b"])
    night("wed", ["2014-01-08"], price=["dear"], desk=["a"])
    night("thu", ["2014-01-08"], day=["Thursday"])
    score("mon.parquet", *TO)
    for name, code, said in (
        ("tue", 73, "has no column 'region', the input has"),
        ("wed", 73, "holds int64 in the column 'price', the input large_string"),
        ("thu", 65, "already has the column 'day'"),
    ):
        done = run("score", f"{name}.parquet", *TO, "--model", tiny_model)
        assert (done.code, said in done.err) == (code, True), done.err
    taken = ("--on-new-columns", "add", "--on-missing-columns", "null")
    warnings = score("tue.parquet", *TO, *taken)["warnings"]
    assert f"{tmp_path}/lake: column 'region' is new" in warnings
    assert len(by_duckdb(tmp_path, ", union_by_name = true")) == 2


def test_a_disk_of_its_own_has_no_place_beside_it(
    score, run, night, tmp_path, tiny_model, monkeypatch
):
    night("mon", ["2014-01-06"])
    score("mon.parquet", *TO)
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path).endswith("/lake"))
    done = run("score", "mon.parquet", *TO, "--model", tiny_model)
    assert (done.code, "is a disk of its own" in done.err) == (73, True)
    score("mon.parquet", "-o", "lake/in-it", *TO[2:])


def test_a_folder_that_another_run_writes_is_waited_for(score, run, night, tmp_path, tiny_model):
    night("mon", ["2014-01-06"])
    score("mon.parquet", *TO)
    with locked(tmp_path / "lake"):
        done = run("score", "mon.parquet", *TO, "--model", tiny_model, "--publish-wait", "0")
    assert done.code == 75
    assert f"another run is writing {tmp_path}/lake" in done.err
