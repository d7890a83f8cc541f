"""`query`: formats, destinations, and one line for each mistake."""

import csv
import gzip
import io
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.queries.catalog import query_names
from finsent_batch.store.store import Store

NEWS = [
    (datetime(2024, 5, 1, 9), "Oil falls", (0.75, 0.25, 0.0)),
    (datetime(2024, 5, 2, 9), "Sales rise", (0.0, 0.25, 0.75)),
]
LABEL_MIX = [
    {"sentiment": "negative", "rows": 1, "share": 0.5, "mean_confidence": 0.75},
    {"sentiment": "positive", "rows": 1, "share": 0.5, "mean_confidence": 0.75},
]


@pytest.fixture(autouse=True)
def news(tmp_path, scored_table):
    """NEWS in the working folder, as news.parquet and as table `news` of out.duckdb."""
    frame = scored_table(NEWS)
    frame.write_parquet(tmp_path / "news.parquet")
    with duckdb.connect(tmp_path / "out.duckdb") as connection:
        connection.register("frame", frame.to_arrow())
        connection.execute("CREATE TABLE news AS FROM frame")


def test_settings_do_not_keep_the_queries_from_being_listed(run, monkeypatch):
    monkeypatch.setenv("FINSENT_QUERY_FORMAT", "json")
    done = run("query")
    assert done.code == 0, done.err
    assert "daily_sentiment" in done.out


def test_without_a_name_the_queries_are_listed(run):
    done = run("query")
    assert done.code == 0
    for name in query_names():
        assert name in done.out
    assert "since, until" in done.out


def test_csv_is_the_default_where_there_is_no_terminal(run):
    done = run("query", "label_mix", "--from", "news.parquet")
    assert done.code == 0
    assert done.out == (
        "sentiment,rows,share,mean_confidence\nnegative,1,0.5,0.75\npositive,1,0.5,0.75\n"
    )


def test_json(run):
    done = run("query", "label_mix", "--from", "news.parquet", "--format", "json")
    assert done.json == LABEL_MIX


def test_table(run):
    done = run("query", "label_mix", "--from", "news.parquet", "--format", "table")
    assert done.code == 0
    assert "mean_confidence" in done.out.splitlines()[0]
    assert len(done.out.splitlines()) == 4


def test_parquet_on_stdout(tmp_path):
    command = [str(Path(sys.executable).parent / "finsent-batch"), "query", "label_mix"]
    done = subprocess.run(
        [*command, "--from", "news.parquet", "--format", "parquet"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert pl.read_parquet(io.BytesIO(done.stdout)).to_dicts() == LABEL_MIX


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet", "md", "csv.gz"])
def test_the_output_s_suffix_decides_its_format(run, tmp_path, suffix):
    done = run("query", "label_mix", "--from", "news.parquet", "-o", f"out.{suffix}")
    assert (done.code, done.out) == (0, "")
    file = tmp_path / f"out.{suffix}"
    if suffix == "csv":
        found = list(csv.DictReader(file.open()))
        assert found == [{k: str(v) for k, v in row.items()} for row in LABEL_MIX]
    elif suffix == "csv.gz":
        assert gzip.decompress(file.read_bytes()).count(b"\n") == 3
    elif suffix == "json":
        assert json.loads(file.read_text()) == LABEL_MIX
    elif suffix == "jsonl":
        assert [json.loads(line) for line in file.read_text().splitlines()] == LABEL_MIX
    elif suffix == "md":
        assert file.read_text().splitlines()[2] == "| negative | 1 | 0.5 | 0.75 |"
    else:
        assert pl.read_parquet(file).to_dicts() == LABEL_MIX


def test_format_wins_over_the_suffix(run, tmp_path):
    done = run("query", "label_mix", "--from", "news.parquet", "-o", "x.dat", "--format", "json")
    assert done.code == 0
    assert json.loads((tmp_path / "x.dat").read_text()) == LABEL_MIX


@pytest.mark.parametrize("arguments", [["-o", "x.txt"], ["-o", "x.csv", "--format", "table"]])
def test_a_file_of_no_known_format(run, tmp_path, arguments):
    done = run("query", "label_mix", "--from", "news.parquet", *arguments)
    assert done.code == 2
    assert "a file is csv, json, jsonl, parquet or md" in done.err
    assert not (tmp_path / arguments[1]).exists()


def test_parameters(run):
    arguments = ["query", "most_negative", "--from", "out.duckdb::news", "--format", "json"]
    assert [r["headline"] for r in run(*arguments).json] == ["Oil falls", "Sales rise"]
    assert [r["headline"] for r in run(*arguments, "--param", "limit=1").json] == ["Oil falls"]


PUBLISHED = ["--from", "news.parquet"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["zzz"], 2, "no query named 'zzz'; there are: accuracy_by_class, calibration, "),
        (["daily_sentimnt"], 2, "no query named 'daily_sentimnt'; did you mean daily_sentiment"),
        (["confusionn"], 2, "did you mean confusion"),
        (
            ["label_mix", *PUBLISHED, "--param", "limit=3"],
            2,
            "query label_mix has no parameter 'limit'; there are: date_column, text_column",
        ),
        (
            ["daily_sentiment", *PUBLISHED, "--param", "since=yesterday"],
            2,
            "--param since=yesterday: not a date such as 2014-01-31 (first day, default all)",
        ),
        (
            ["daily_sentiment", *PUBLISHED, "--param", "sinse=2024-05-01"],
            2,
            "query daily_sentiment has no parameter 'sinse'; did you mean since?",
        ),
        (
            ["sentiment_by", *PUBLISHED],
            2,
            "query sentiment_by needs --param by_column=… (required, the column to group by)",
        ),
        (
            ["sentiment_by", *PUBLISHED, "--param", "by_column=ticker"],
            2,
            "--param by_column=ticker: the published rows have no such column; they have: ",
        ),
        (["labelled", *PUBLISHED, "--param", "limit=few"], 2, "limit=few: not a whole number"),
        (["labelled", *PUBLISHED, "--param", "limit=-1"], 2, "limit=-1: not a whole number"),
        (["labelled", *PUBLISHED, "--param", "limit=1.5"], 2, "limit=1.5: not a whole number"),
        (
            ["confidence_histogram", *PUBLISHED, "--param", "bins=3000000000"],
            2,
            "not a whole number from 1 to 1000 (how many bins, from 1 to 1000, default 20)",
        ),
        (["confidence_histogram", *PUBLISHED, "--param", "bins=0"], 2, "bins=0: not a whole"),
        (["labelled", *PUBLISHED, "--param", "limit"], 2, "'limit' is not KEY=VALUE"),
        (
            ["labelled", *PUBLISHED, "--param", "date_column=day"],
            2,
            "--param date_column=day: news.parquet has no such column; it has: published_at",
        ),
        (
            ["daily_sentiment", *PUBLISHED, "--param", "date_column=headline"],
            65,
            'column "headline" of news.parquet holds no times',
        ),
        (["quarantine", *PUBLISHED], 2, "query quarantine reads the store, not published rows"),
        (["label_mix", "--from", "none"], 66, "the folder none has no .parquet, .csv"),
        (["label_mix", "--from", "*.pq"], 66, "no file is named *.pq: check --from"),
        (["label_mix", "--from", "plain*"], 65, "plain.csv has no column 'sentiment'"),
        (["label_mix", "--from", "plains"], 66, "none of the 2 files of plains has labels"),
        (["--param", "a=1"], 2, "name a query, or write one with --sql"),
        (["label_mix", "--from", "gone.parquet"], 66, "gone.parquet does not exist: check --from"),
        (["label_mix", "--from", "plain.csv"], 65, "plain.csv has no column 'sentiment'"),
        (["label_mix", "--from", "bad.parquet"], 65, "bad.parquet cannot be read"),
        (["label_mix", "--from", "out.duckdb"], 2, "as out.duckdb::TABLE; it has: news"),
        (["label_mix", "--from", "out.duckdb::old"], 66, "out.duckdb has no table 'old'"),
        (["label_mix"], 66, "score something first, or name --store"),
        (["label_mix", *PUBLISHED, "-o", "no/x.csv"], 73, "cannot write no/x.csv"),
    ],
)
def test_one_line_says_what_is_wrong(run, tmp_path, arguments, code, message):
    (tmp_path / "plain.csv").write_text("headline\nOil falls\n")
    (tmp_path / "bad.parquet").write_text("no Parquet")
    (tmp_path / "none").mkdir()
    (tmp_path / "plains").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "plains" / name).write_text("headline\nOil falls\n")
    done = run("query", *arguments)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_store_in_which_nothing_was_published(run, tmp_path):
    with Store.open(StoreConfig(path=tmp_path / "finsent.duckdb")):
        pass
    done = run("query", "label_mix")
    assert done.code == 66
    assert "knows of no published rows: run finsent-batch score, or name a scored file" in done.err
    done = run("query", "run_history", "--param", "date_column=x")
    assert done.code == 2
    assert "query run_history has no parameter 'date_column'; there are: limit" in done.err


def test_a_result_replaces_neither_the_store_nor_what_runs_read_and_wrote(
    run, score, feed, tmp_path
):
    score("feed.parquet")
    names = ("finsent.duckdb", "feed.parquet", "feed.scored.parquet")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    for name, said in zip(
        names, ("is the store", "input or output", "input or output"), strict=True
    ):
        more = ("-o", tmp_path / name, "--format", "parquet")
        for given in ((), ("--from", "feed.scored.parquet")):
            if given and name == "feed.parquet":
                continue
            done = run("query", "label_mix", *more, *given)
            assert (done.code, said in done.err) == (2, True), done.err
            assert done.err.count("\n") == 1
    assert {name: (tmp_path / name).read_bytes() for name in names} == before


def test_by_default_the_published_rows_of_the_store_s_runs_are_read(run, score, feed):
    found = score("feed.parquet")
    labels = run("query", "label_mix", "--format", "json").json
    assert {r["sentiment"]: r["rows"] for r in labels if r["sentiment"]} == {
        name: count for name, count in found["labels"].items() if count
    }
    score("feed.parquet", "-o", "elsewhere.csv")
    assert run("query", "label_mix", "--format", "json").json == labels


def test_a_trial_with_a_limit_does_not_take_the_place_of_a_whole_run(score, run, feed):
    score("feed.parquet")
    score("feed.parquet", "-o", "trial.parquet", "--limit", "3")
    counts = run("query", "--sql", "SELECT count(*) FROM scored_headlines", "--format", "csv").out
    assert counts.split()[-1] == str(feed.height)
