"""`--append`: nights collected in one DuckDB table, each row of each input there once."""

import json
import signal
import sys
from datetime import datetime

import duckdb
import polars as pl
import pytest

from ..helpers import forks

ONLY_TABLES = "in a folder by days or in a Delta table: -o news.duckdb --output-table"
TO = ("-o", "news.duckdb", "--output-table", "headlines", "--append")


@pytest.fixture
def night(tmp_path):
    """Write a night's file of the given headlines; columns by name come with them."""

    def write(name, texts, **columns):
        frame = pl.DataFrame({"id": range(len(texts)), "headline": texts, **columns})
        frame.write_parquet(tmp_path / f"{name}.parquet")

    return write


def table(folder, columns="input_file, id, headline"):
    with duckdb.connect(folder / "news.duckdb", read_only=True) as connection:
        rows = connection.execute(f"SELECT {columns} FROM headlines").fetchall()
    return [tuple(v.split("/")[-1] if isinstance(v, str) else v for v in row) for row in rows]


def test_each_night_is_added_once_and_counted(score, run, night, tmp_path):
    night("mon", ["Oil falls", "Bank cuts jobs", "Oil falls"])
    night("tue", ["Oil falls", "Sales rise", None])
    counts = ("read", "unique_scored", "reused", "duplicate", "empty")
    first, second = score("mon.parquet", *TO)["rows"], score("tue.parquet", *TO)["rows"]
    assert [first[c] for c in counts] == [3, 2, 1, 1, 0]
    assert [second[c] for c in counts] == [3, 1, 1, 0, 1]
    expected = [
        ("mon.parquet", 0, "Oil falls"),
        ("mon.parquet", 1, "Bank cuts jobs"),
        ("mon.parquet", 2, "Oil falls"),
        ("tue.parquet", 0, "Oil falls"),
        ("tue.parquet", 1, "Sales rise"),
        ("tue.parquet", 2, None),
    ]
    assert table(tmp_path) == expected
    history = run("query", "run_history", "--format", "json").json
    assert [(h["rows_reused"], h["rows_duplicate"]) for h in history] == [(1, 0), (1, 1)]

    # The same command again replaces that night's rows, and no others.
    night("mon", ["Oil falls", "Deal posts record"])
    assert score("mon.parquet", *TO)["rows"]["unique_scored"] == 1
    replaced = [("mon.parquet", 0, "Oil falls"), ("mon.parquet", 1, "Deal posts record")]
    assert sorted(table(tmp_path), key=str) == sorted([*replaced, *expected[3:]], key=str)


def test_another_model_scores_again_and_the_old_scores_stay(score, night, tmp_path, tiny_model):
    import shutil

    from safetensors.numpy import load_file, save_file

    other = shutil.copytree(tiny_model, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"] + 1.0
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    night("mon", ["Oil falls", "Bank cuts jobs"])
    night("tue", ["Sales rise"])
    before = score("mon.parquet", *TO)["model_fingerprint"]
    assert score("tue.parquet", *TO)["rows"]["unique_scored"] == 1
    summary = score("mon.parquet", *TO, model=other)
    assert summary["rows"]["unique_scored"] == 2
    assert summary["model_fingerprint"] != before
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        kept = store.execute("SELECT headline, model_fingerprint FROM scores").fetchall()
    assert len(set(kept)) == 5
    assert sorted(table(tmp_path, "input_file, model_fingerprint")) == sorted(
        [("mon.parquet", summary["model_fingerprint"])] * 2 + [("tue.parquet", before)]
    )


def test_a_folder_goes_into_one_table_and_queries_read_each_row_once(score, run, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("mon", "tue"):
        frame = pl.DataFrame({"headline": [f"Oil falls {name}", "Sales rise"]})
        frame.write_parquet(tmp_path / "in" / f"{name}.parquet")
    assert score("in", *TO)["outputs"] == [f"{tmp_path}/news.duckdb::headlines"] * 2
    assert len(table(tmp_path, "headline")) == 4
    assert sum(r["rows"] for r in run("query", "label_mix", "--format", "json").json) == 4
    # Monday's latest publication is now elsewhere: its rows in the table no longer count.
    score("in/mon.parquet", "-o", "mon.csv")
    assert sum(r["rows"] for r in run("query", "label_mix", "--format", "json").json) == 4


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"extra": [1]}, "has no column 'extra', the input has"),
        ({"price": [1.5]}, "holds BIGINT in the column 'price', the input DOUBLE"),
        ({}, "has the column 'price', the input has not"),
    ],
)
def test_other_columns_are_refused_before_anything_is_scored(
    score, run, night, tmp_path, tiny_model, columns, said
):
    night("mon", ["Oil falls"], price=[1])
    night("tue", ["Sales rise"], **({"price": [1]} | columns if columns else {}))
    score("mon.parquet", *TO)
    done = run("score", "tue.parquet", *TO, "--model", tiny_model)
    assert done.code == 73
    assert said in done.err
    assert table(tmp_path) == [("mon.parquet", 0, "Oil falls")]


def test_columns_of_another_order_or_of_no_values_yet_fit(score, tmp_path):
    one = pl.DataFrame({"headline": ["Oil falls"], "desk": [None]})
    one.write_parquet(tmp_path / "mon.parquet")
    two = pl.DataFrame({"desk": ["x"], "headline": ["Sales rise"]})
    two.write_parquet(tmp_path / "tue.parquet")
    score("mon.parquet", *TO)
    score("tue.parquet", *TO)
    score("mon.parquet", *TO)
    assert sorted(table(tmp_path, "headline, desk")) == [("Oil falls", None), ("Sales rise", "x")]


def test_a_table_that_was_not_made_by_appending_stays(score, run, night, tmp_path, tiny_model):
    night("mon", ["Oil falls"])
    score("mon.parquet", *TO[:-1])
    done = run("score", "mon.parquet", *TO, "--model", tiny_model)
    assert done.code == 73
    assert "was not made with --append" in done.err
    score("mon.parquet", "-o", "news.duckdb", "--output-table", "all", "--append")
    done = run("score", "mon.parquet", *TO[:3], "all", "--model", tiny_model)
    assert done.code == 73
    assert "collects inputs with --append" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "n.duckdb", "--append"), ONLY_TABLES),
        (("-o", "n.csv", "--append"), ONLY_TABLES),
        (("--output-table", "t", "--append"), ONLY_TABLES),
        ((*TO, "--overwrite"), "choose one"),
        (("-o", "n.csv", "--output-table", "t", "--append"), ONLY_TABLES),
    ],
)
def test_options_that_contradict_each_other(run, night, arguments, said):
    night("mon", ["Oil falls"])
    done = run("score", "mon.parquet", *arguments)
    assert done.code == 2
    assert said in done.err


KILLED = """
import os, signal, sys
from pathlib import Path
import finsent_batch.pipeline.publish as publishing
from finsent_batch.jobs.cli import run

labelled = publishing._labelled
def killed(planned, *rest):
    yield from labelled(planned, *rest)
    os.kill(os.getpid(), signal.SIGKILL)
publishing._labelled = killed
run(sys.argv[1:])
"""


def test_killed_inside_the_transaction_nothing_is_lost_or_doubled(
    score, night, tmp_path, tiny_model
):
    night("mon", ["Oil falls", "Sales rise"])
    night("tue", ["Bank cuts jobs"])
    score("mon.parquet", *TO)
    score("tue.parquet", *TO)
    before = table(tmp_path)
    night("mon", ["Oil falls", "Sales miss forecast"])
    arguments = ["score", "mon.parquet", *TO, "--model", str(tiny_model), "--weights", "fp32"]
    command = [sys.executable, "-c", KILLED, *arguments]
    done = forks.run(command, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert table(tmp_path) == before
    assert score("mon.parquet", *TO)["rows"]["unique_scored"] == 0
    replaced = [("mon.parquet", 0, "Oil falls"), ("mon.parquet", 1, "Sales miss forecast")]
    assert sorted(table(tmp_path)) == [*replaced, ("tue.parquet", 0, "Bank cuts jobs")]


def test_tables_of_the_same_file_and_columns_of_every_kind(score, run, tmp_path):
    with duckdb.connect(tmp_path / "news.duckdb") as connection:
        for name, desk in (("mon", "rates"), ("tue", "oil")):
            connection.execute(f"""CREATE TABLE {name} AS SELECT 'Oil falls' AS headline,
                '{desk}'::ENUM('rates', 'oil') AS desk, 12::HUGEINT AS n, TIMESTAMPTZ
                '2014-01-06 03:00:00+01' AS t, [['oil'::ENUM('rates', 'oil')]] AS nested""")
    for name in ("mon", "tue", "mon"):
        table_of = ("--table", name, "--output-table", "headlines", "--append")
        score("news.duckdb", *table_of)
    assert sorted(table(tmp_path, "input_file, desk, n, nested")) == [
        ("news.duckdb::mon", "rates", 12, [["oil"]]),
        ("news.duckdb::tue", "oil", 12, [["oil"]]),
    ]
    assert run("query", "label_mix", "--format", "json").json[0]["rows"] == 2


def test_a_night_without_rows_takes_its_earlier_rows_away(score, night, tmp_path):
    night("mon", ["Oil falls"])
    score("mon.parquet", *TO)
    pl.DataFrame(schema={"id": pl.Int64, "headline": pl.String}).write_parquet(
        tmp_path / "mon.parquet"
    )
    assert score("mon.parquet", *TO, "--gate", "rows>=0")["rows"]["read"] == 0
    assert table(tmp_path) == []


def test_the_report_of_a_night_is_about_its_own_rows(score, run, tmp_path):
    for name, texts in (("mon", ["Oil falls", "Deal"]), ("tue", ["Sales rise"])):
        times = [datetime(2014, 1, 6, hour) for hour in range(len(texts))]
        frame = pl.DataFrame({"headline": texts, "published_at": times})
        frame.write_parquet(tmp_path / f"{name}.parquet")
    first = score("mon.parquet", *TO)["run_id"]
    score("tue.parquet", *TO)

    def headlines(run_id):
        done = run("report", "--run", run_id, "-o", "r.json", "--format", "json")
        assert done.code == 0, done.err
        found = json.loads((tmp_path / "r.json").read_text())
        return found["notes"], sum(row["headlines"] for row in found["by_time"])

    assert headlines(first) == ([], 2)
    score("mon.parquet", *TO)  # the same news again
    assert headlines(first) == ([], 2)
    pl.read_parquet(tmp_path / "mon.parquet").head(1).write_parquet(tmp_path / "mon.parquet")
    score("mon.parquet", *TO)
    notes, rows = headlines(first)
    assert "1 of 1 outputs of this run are gone or were replaced" in notes[0]
    assert rows == 0
