"""Each row counts once: folders' names, copies, trials, moved outputs, outputs that broke."""

import shlex
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest


@pytest.fixture
def night(tmp_path, wordy):
    """Write a night of so many headlines and return its name."""

    def write(name, day=6, rows=10, first=0, **columns):
        times = [datetime(2014, 1, day) + timedelta(hours=i) for i in range(rows)]
        frame = pl.DataFrame({"headline": wordy(first + rows)[first:], **columns, "date": times})
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (frame.write_csv if name.endswith(".csv") else frame.write_parquet)(file)
        return name

    return write


@pytest.fixture
def days(run):
    """Return {day: headlines} of `query daily_sentiment`, which the shell must give too."""

    def ask():
        done = run("query", "daily_sentiment", "--format", "json")
        assert done.code == 0, done.err
        found = {row["day"]: row["headlines"] for row in done.json}
        with duckdb.connect("finsent.duckdb", read_only=True) as shell:
            said = shell.sql("SELECT day, headlines FROM daily_sentiment").fetchall()
        assert {day and str(day): count for day, count in said} == found
        return found

    return ask


# ---- what a folder is called


@pytest.mark.parametrize(
    "folder", ["p_positive=1", "run_id=x", "score_status=empty", "headline=H", "date=2001-01-01"]
)
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_published_file_keeps_its_columns_whatever_its_folder_is_called(
    score, run, night, tmp_path, folder, suffix
):
    output = Path(folder) / f"out{suffix}"
    score(night("n.parquet"), "-o", output)
    shutil.copy(output, f"plain{suffix}")
    asked = ("query", "labelled", "--format", "json")
    plain = run(*asked, "--from", f"plain{suffix}")
    assert run(*asked, "--from", output).out == run(*asked).out == plain.out
    assert len(plain.json) == 10


def test_columns_that_only_folders_name_are_kept(score, night, tmp_path):
    night("feed/desk=fx%20and%20rates/day=6/a.parquet")
    night("feed/desk=__HIVE_DEFAULT_PARTITION__/day=7/b.csv", day=7, desk=["own"] * 10)
    score("feed")
    first = pl.read_parquet(*Path("feed.scored").rglob("a.scored.parquet"), hive_partitioning=False)
    assert first.columns[:5] == ["headline", "date", "desk", "day", "sentiment"]
    assert first["desk"].unique().to_list() == ["fx and rates"]
    other = pl.read_parquet(*Path("feed.scored").rglob("b.scored.parquet"), hive_partitioning=False)
    assert other["desk"].unique().to_list() == ["own"]
    assert other["day"].unique().to_list() == ["7"]


TABLE = ("--output-table", "t")


@pytest.mark.parametrize(
    ("output", "name"),
    [(("o.csv",), "o.csv"), (("n.duckdb", *TABLE), "n.duckdb::t"),
     (("n.duckdb", *TABLE, "--append"), "n.duckdb::t")],
)  # fmt: skip
def test_what_from_names_is_read_as_it_was_when_it_was_scored(
    score, run, output, name, monkeypatch
):
    Path("n.csv").write_text("headline,date\nOil falls,13/01/2014 23:30\nSales rise,01/02/2014\n")
    score("n.csv", "-o", *output, "--timezone", "America/New_York")
    asked = ("query", "daily_sentiment")
    found = run(*asked, "--from", name)
    assert [line[:12] for line in found.out.splitlines()[1:]] == ["2014-01-14,1", "2014-02-01,1"]
    assert (found.out, found.err) == (run(*asked).out, "")
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert run("--store", "~/finsent.duckdb", *asked, "--from", name).out == found.out
    assert run("--store", "~/finsent.duckdb", *asked, "-o", "n.csv").code == 2
    models = run("models").out
    assert len(models.splitlines()) == 4
    assert run("--store", "~/finsent.duckdb", "models").out == models
    if "--append" in output:
        shutil.copy("n.csv", "other.csv")
        score("other.csv", "-o", *output, "--date-format", "mdy")
        assert "leave out --from to read each as it was" in run(*asked, "--from", name).err
    # Without the store nobody knows.
    assert "2014-01-14" not in run("--store", "none.duckdb", *asked, "--from", name).out


# ---- what counts, and how often


@pytest.mark.parametrize("copy", ["a copy's.parquet", "copy.csv"])
def test_a_night_under_another_name_is_told_and_can_be_forgotten(score, run, night, days, copy):
    score(night("n.parquet"))
    frame = pl.read_parquet("n.parquet").sample(fraction=1.0, shuffle=True, seed=1)
    (frame.write_csv if copy.endswith(".csv") else frame.write_parquet)(copy)
    summary = score(copy)
    [told] = [w for w in summary["warnings"] if "store forget" in w and "n.parquet" in w]
    assert days() == {"2014-01-06": 20}
    assert "both are counted" in run("query", "label_mix").err
    done = run(*shlex.split(told.partition(" run finsent-batch ")[2]))
    assert done.code == 0, done.err
    assert days() == {"2014-01-06": 10}
    assert "both are counted" not in run("query", "label_mix").err
    score(copy)
    assert days() == {"2014-01-06": 20}


@pytest.mark.parametrize("latest", [("latest.parquet",), ("n.duckdb", "--output-table", "t")])
def test_what_another_input_has_overwritten_counts_for_that_one(score, run, night, days, latest):
    score(night("mon.parquet"), "-o", *latest)
    score(night("tue.parquet", day=7), "-o", *latest, "--overwrite")
    assert days() == {"2014-01-07": 10}
    score("tue.parquet", "-o", "archive.parquet")
    assert days() == {"2014-01-07": 10}
    assert run("store", "forget", "tue.parquet").code == 0
    assert run("query", "label_mix").out.splitlines()[1:] == []
    # With an output of its own the first input counts again.
    score("mon.parquet")
    assert days() == {"2014-01-06": 10}


def test_the_same_headlines_on_another_day_are_no_copy(score, night, days):
    score(night("monday.parquet"))
    summary = score(night("tuesday.parquet", day=7))
    assert not any("forget" in warning for warning in summary["warnings"])
    assert days() == {"2014-01-06": 10, "2014-01-07": 10}


def test_an_output_that_is_scored_again_is_told(score, night):
    score(night("n.parquet"))
    shutil.copy("n.scored.parquet", "again.parquet")
    summary = score("again.parquet", "--replace-columns")
    assert any("the same headlines" in warning for warning in summary["warnings"])


def test_an_input_that_nobody_scored_cannot_be_forgotten(score, run, night):
    score(night("n.parquet"))
    done = run("store", "forget", "other.parquet")
    assert done.code == 2
    assert "n.parquet" in done.err


@pytest.mark.parametrize(
    "output", [("-o", "o.parquet"), ("-o", "o.csv"), ("-o", "o.duckdb", "--output-table", "t")]
)
@pytest.mark.parametrize("append", [False, True])
def test_a_trial_replaces_no_whole_output(score, run, night, days, tiny_model, output, append):
    if append and len(output) == 2:
        pytest.skip("files are not appended to")
    output = (*output, "--append") if append else output
    score(night("n.parquet"), *output)
    model = ("--model", tiny_model, "--weights", "fp32")
    refused = run("score", "n.parquet", *output, "--limit", 3, *model)
    assert refused.code == 73, refused.err
    assert "--limit" in refused.err
    assert days() == {"2014-01-06": 10}
    summary = score("n.parquet", *output, "--limit", 3, "--overwrite")
    assert (summary["limit"], summary["rows"]["read"]) == (3, 3)
    assert days() == {"2014-01-06": 3}
    assert "--limit" in run("query", "daily_sentiment").err
    score("n.parquet", *output)
    assert days() == {"2014-01-06": 10}
    assert "--limit" not in run("query", "daily_sentiment").err


def test_a_trial_elsewhere_does_not_take_the_place_of_the_whole(score, night, days):
    score(night("n.parquet"))
    score("n.parquet", "-o", "trial.parquet", "--limit", 3)
    assert days() == {"2014-01-06": 10}


def test_after_append_the_shell_answers_as_the_command(score, night, days):
    for number in range(3):
        name = night(f"{number}.parquet", day=6 + number, first=10 * number)
        score(name, "-o", "news.duckdb", "--output-table", "t", "--append")
        assert days() == {f"2014-01-0{6 + i}": 10 for i in range(number + 1)}


def test_feeds_of_different_columns_share_a_store(score, night, days):
    score(night("n.parquet"))
    frame = pl.read_parquet(night("m.parquet", day=7, first=10))
    frame.rename({"headline": "News Title", "date": "publishedAt"}).write_parquet("m.parquet")
    summary = score("m.parquet", "-o", "m.duckdb")
    assert summary["columns"][0]["text_column"] == "News Title"
    assert days() == {"2014-01-06": 10, "2014-01-07": 10}


def test_feeds_whose_columns_differ_in_case_alone_share_a_store(score, days, tmp_path):
    (tmp_path / "in").mkdir()
    texts = {"a": "headline,date,Über", "b": "Headline,DATE,über", "c": "title,Date,ÜBER"}
    for name, header in texts.items():
        (tmp_path / f"in/{name}.csv").write_text(f"{header}\nProfit of {name},2014-01-06,x\n")
    table = {"HEADLINE": ["Loss"], "date": [datetime(2014, 1, 7)], "über": [1]}
    pl.DataFrame(table).write_parquet("in/d.parquet")
    score("in")
    assert days() == {"2014-01-06": 3, "2014-01-07": 1}


def test_an_output_that_moves_from_a_file_to_a_table_counts_once(score, run, night, days):
    score(night("n.parquet"))
    score("n.parquet", "-o", "news.duckdb", "--output-table", "t", "--append")
    assert days() == {"2014-01-06": 10}
    Path("news.duckdb").rename("elsewhere.duckdb")
    [row] = run("query", "daily_sentiment", "--format", "json").json
    assert row["headlines"] == 10
    with (
        duckdb.connect("finsent.duckdb", read_only=True) as shell,
        pytest.raises(duckdb.Error, match=r"news\.duckdb is gone: finsent-batch query answers"),
    ):
        shell.sql("FROM daily_sentiment").fetchall()
    said = run("query", "daily_sentiment").err
    assert "news.duckdb::t, the last output of " in said
    assert "n.scored.parquet counts, which was made before" in said
    score(night("m.parquet", day=7, first=10))
    assert days() == {"2014-01-06": 10, "2014-01-07": 10}
    Path("m.scored.parquet").unlink()
    Path("n.scored.parquet").unlink()
    assert run("query", "daily_sentiment").code == 66
    with (
        duckdb.connect("finsent.duckdb", read_only=True) as shell,
        pytest.raises(duckdb.Error, match="no published output is there any more"),
    ):
        shell.sql("FROM daily_sentiment").fetchall()


def test_back_in_the_table_it_counts_there(score, run, night, days):
    options = ("-o", "news.duckdb", "--output-table", "t", "--append")
    score(night("m.parquet", day=7, first=10), *options)
    score(night("n.parquet"), *options)
    score("n.parquet")
    assert days() == {"2014-01-06": 10, "2014-01-07": 10}
    Path("n.scored.parquet").rename("elsewhere.parquet")  # the rows in the table are still there
    rows = run("query", "daily_sentiment", "--format", "json").json
    assert [row["headlines"] for row in rows] == [10, 10]
    score("n.parquet", "-o", "o.csv")
    Path("elsewhere.parquet").rename("n.scored.parquet")
    assert days() == {"2014-01-06": 10, "2014-01-07": 10}


def test_outputs_that_are_gone_are_told_until_they_are_forgotten(score, run, night, days):
    for number in range(3):
        score(night(f"{number}.parquet", day=6 + number, first=10 * number))
    Path("0.scored.parquet").unlink()
    Path("1.scored.parquet").rename("moved.parquet")
    assert days() == {"2014-01-08": 10}
    said = run("query", "label_mix").err
    assert "and those of 1 more inputs are gone: 20 rows are not counted" in said
    score("2.parquet")
    assert days() == {"2014-01-08": 10}
    for name in ("0.parquet", "1.parquet"):
        assert run("store", "forget", name).code == 0
    assert "gone" not in run("query", "label_mix").err


def test_a_trial_that_is_gone_is_no_loss(score, run, night, days):
    score(night("m.parquet", day=7, first=10))
    score(night("n.parquet"), "-o", "trial.parquet", "--limit", 3)
    Path("trial.parquet").unlink()
    assert days() == {"2014-01-07": 10}
    assert "gone" not in run("query", "daily_sentiment").err


def test_one_output_that_broke_does_not_break_the_others(score, run, night):
    score(night("n.parquet"))
    score(night("m.parquet", day=7, first=10), "-o", "m.csv")
    broken = Path("m.csv").read_bytes()
    Path("m.csv").write_bytes(broken[: len(broken) // 2] + b'"')
    done = run("query", "daily_sentiment", "--format", "json")
    assert done.code == 0, done.err
    assert {row["day"]: row["headlines"] for row in done.json} == {"2014-01-06": 10}
    assert "m.csv cannot be read and is left out" in done.err
    Path("m.csv").write_bytes(b"")
    assert "left out: " in run("query", "daily_sentiment").err


def test_rows_without_a_time_column_are_told(score, run, night):
    pl.read_parquet(night("n.parquet")).drop("date").write_parquet("n.parquet")
    summary = score("n.parquet")
    assert summary["columns"][0]["date_column"] is None
    assert "on the day they were scored" in run("query", "daily_sentiment").err
    assert "on the day they were scored" not in run("query", "label_mix").err
    assert run("report", "-o", "r.md").code == 0
    assert "name the one that holds the time of publication" in Path("r.md").read_text("utf-8")


def test_the_clock_does_not_say_which_publication_is_the_last(score, run, night, days):
    score(night("n.parquet"))
    with duckdb.connect("finsent.duckdb") as store:
        store.execute("UPDATE run_files SET published_at = TIMESTAMP '2090-01-01'")
    score("n.parquet", "-o", "later.parquet")
    Path("n.scored.parquet").write_bytes(b"")
    assert days() == {"2014-01-06": 10}
