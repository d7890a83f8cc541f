"""`--skip-unchanged`: what is published already is not read again, where that is sure."""

import json
import os

import duckdb
import polars as pl
import pytest

TO = {
    "table": ("-o", "news.duckdb", "--output-table", "headlines", "--append"),
    "parquet": ("-o", "out"),
    "csv": ("-o", "out", "--output-format", "csv"),
}


def write(tmp_path, name, *headlines):
    (tmp_path / "feeds").mkdir(exist_ok=True)
    pl.DataFrame({"headline": headlines}).write_csv(tmp_path / "feeds" / name)


@pytest.fixture
def nightly(score, tmp_path):
    """Score two nights' files and give how many inputs the same command then reads and skips."""
    write(tmp_path, "mon.csv", "Oil falls", "Bank cuts jobs")
    write(tmp_path, "tue.csv", "Sales rise")

    def call(*options, to="table"):
        files = score("feeds/*.csv", *TO[to], "--skip-unchanged", *options)["files"]
        return files["read"], files["unchanged"]

    return call


def rows(tmp_path):
    with duckdb.connect(tmp_path / "news.duckdb", read_only=True) as news:
        return news.execute("SELECT headline FROM headlines ORDER BY ALL").fetchall()


@pytest.mark.parametrize("to", TO)
def test_only_what_is_new_or_changed_is_read(nightly, run, tmp_path, tiny_model, to):
    assert nightly(to=to) == (2, 0)
    assert nightly(to=to) == (0, 2)
    write(tmp_path, "wed.csv", "Net loss")
    assert nightly(to=to) == (1, 2)
    assert nightly(to=to) == (0, 3)
    write(tmp_path, "mon.csv", "Oil falls", "Bank adds jobs")
    done = run("score", "feeds/*.csv", *TO[to], "--skip-unchanged", "--dry-run",
               "--model", tiny_model, "--weights", "fp32")  # fmt: skip
    assert "2 of 3 inputs already published, unchanged\n2 rows in 1 file" in done.out, done.err
    assert nightly(to=to) == (1, 2)
    assert nightly(to=to) == (0, 3)
    assert nightly("--overwrite" if to != "table" else "--no-skip-unchanged", to=to) == (3, 0)
    assert nightly(to=to) == (0, 3)
    done = run("query", "label_mix", "--format", "json")
    assert sum(row["rows"] for row in done.json) == 4


def test_a_run_with_nothing_to_read_is_done_and_says_so(nightly, run, score, tmp_path, tiny_model):
    nightly()
    before = rows(tmp_path)
    done = run("score", "feeds/*.csv", *TO["table"], "--skip-unchanged", "--gate", "rows>=1",
               "--model", tiny_model, "--weights", "fp32", "--metrics-file", "m.prom")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("2 of 2 inputs already published, unchanged\n0 rows: 0 labelled")
    assert 'finsent_last_run_rows{kind="read"} 0' in (tmp_path / "m.prom").read_text()
    assert run("runs", "--format", "json").json[0]["rows_read"] == 0
    assert rows(tmp_path) == before
    assert run("report", "-o", "r.json").code == 0  # of the run that read something
    assert json.loads((tmp_path / "r.json").read_text())["metrics"]["rows"] == 3
    done = run("score", "feeds/*.csv", *TO["table"], "--skip-unchanged", "--dry-run",
               "--model", tiny_model, "--weights", "fp32")  # fmt: skip
    assert "2 of 2 inputs already published" in done.out
    assert score("feeds/mon.csv", *TO["table"])["rows"]["read"] == 2  # without the option


def touched(tmp_path):
    file = tmp_path / "feeds" / "mon.csv"
    stamp = file.stat()
    file.write_text(file.read_text().replace("Oil", "Gas"))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def edited(tmp_path):
    with duckdb.connect(tmp_path / "news.duckdb") as news:
        news.execute("DELETE FROM headlines WHERE headline = 'Sales rise'")


def removed(tmp_path):
    (tmp_path / "news.duckdb").unlink()


@pytest.mark.parametrize(
    ("change", "options", "read"),
    [
        (touched, (), 1),
        (edited, (), 2),
        (removed, (), 2),
        (None, ("--replace-columns",), 2),
        (None, ("--output-table", "others"), 2),
    ],
)
def test_what_is_not_sure_is_published_anew(nightly, tmp_path, change, options, read):
    nightly()
    if change:
        change(tmp_path)
    assert nightly(*options) == (read, 2 - read)
    assert nightly(*options) == (0, 2)
    assert len(rows(tmp_path)) == 3


def test_the_last_publication_of_an_input_counts(nightly, run, score, tmp_path):
    assert nightly(to="csv") == (2, 0)
    assert nightly() == (2, 0)
    assert nightly(to="csv") == (2, 0)  # else the table would still be what queries read
    assert run("store", "forget", "feeds/mon.csv").code == 0
    assert nightly(to="csv") == (1, 1)
