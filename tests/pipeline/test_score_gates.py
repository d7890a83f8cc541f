"""Gates of `score`: what fails one is scored, and not published."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from finsent_batch.metrics.figures import FIGURES

FIRST = datetime(2026, 3, 2)


@pytest.fixture
def night(tmp_path, wordy):
    """Write a night of so many headlines, of which so many are blank and so many without a time."""

    def write(name="in", rows=20, blank=0, undated=0, start=0):
        texts = [None] * blank + wordy(start + rows)[start : start + rows - blank]
        times = [f"{FIRST + timedelta(minutes=i)}" for i in range(rows)]
        times[:undated] = ["at some time"] * undated
        file = tmp_path / f"{name}.parquet"
        file.parent.mkdir(exist_ok=True)
        frame = {
            "published_at": pl.Series(times, dtype=pl.String),
            "headline": pl.Series(texts, dtype=pl.String),
        }
        pl.DataFrame(frame).write_parquet(file)

    return write


@pytest.fixture
def held(run, tiny_model):
    """Score with the tiny model, which a gate must keep from publishing; gives summary, stderr."""

    def call(*arguments):
        options = ("--model", tiny_model, "--weights", "fp32", "--summary", "json")
        done = run("score", *arguments, *options)
        assert done.code == 3, done.err
        assert done.json["status"] == "held"
        return done.json, done.err

    return call


def content(folder: Path) -> dict[str, bytes]:
    """Return all that is published in a folder, by name."""
    kinds = ("out*", "labelled/*")
    return {str(f): f.read_bytes() for kind in kinds for f in folder.glob(kind) if f.is_file()}


OUTPUTS = {
    "parquet": ("in.parquet", "-o", "out.parquet"),
    "csv": ("in.parquet", "-o", "out.csv"),
    "table": ("in.parquet", "-o", "out.duckdb"),
    "append": ("in.parquet", "-o", "out.duckdb", "--output-table", "news", "--append"),
    "folder": ("feeds", "-o", "labelled"),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_fails_a_gate_leaves_the_output_byte_for_byte(score, held, run, night, tmp_path, kind):
    name = "feeds/b" if kind == "folder" else "in"
    night(name)
    if kind == "folder":
        night("feeds/a", start=40)
    score(*OUTPUTS[kind])
    before = content(tmp_path)
    assert before
    night(name, rows=30, start=10)
    summary, error = held(*OUTPUTS[kind], "--gate", "rows>=1000", "--gate", "labelled_share>=0.1")
    assert content(tmp_path) == before
    run_id = summary["run_id"]
    assert summary["error"] in error
    assert f"rows is {summary['rows']['read']}, not >= 1000" in summary["error"]
    assert f"--publish-anyway {run_id}" in summary["error"]
    assert summary["outputs"] == []
    assert summary["rows"]["unique_scored"] == 20
    # The same command with the gate eased publishes without the model.
    later = score(*OUTPUTS[kind], "--gate", "rows>=10")
    assert later["rows"]["unique_scored"] == 0
    assert later["engine"] is None
    assert content(tmp_path) != before
    for same in ("labels", "histograms", "content"):
        assert later[same] == summary[same]
    differ = {"unique_scored", "reused"}
    assert {k: v for k, v in later["rows"].items() if k not in differ} == {
        k: v for k, v in summary["rows"].items() if k not in differ
    }


def test_what_was_held_back_is_published_by_its_run(held, run, night, tmp_path, monkeypatch):
    night()
    summary, _ = held("in.parquet", "-o", "out.csv", "--gate", "mean_score>2", "--limit", 7)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    command = ("--store", "../finsent.duckdb", "score", "--publish-anyway", summary["run_id"])
    done = run(*command, "--summary", "json")
    assert done.code == 0, done.err
    assert done.json["published_anyway"] == summary["run_id"]
    assert (done.json["engine"], done.json["gates"]) == (None, [])
    assert done.json["rows"]["read"] == 7
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 8
    report = run("--store", "../finsent.duckdb", "report")
    assert f"Published by hand: a gate had held back run {summary['run_id']}." in report.out


def test_nothing_but_what_was_judged_is_published_anyway(held, score, run, night):
    night()
    summary, _ = held("in.parquet", "--gate", "rows>99")
    night(rows=21)
    done = run("score", "--publish-anyway", summary["run_id"])
    assert done.code == 65
    assert "changed since that run was held back: score it again" in done.err
    done = run("score", "--publish-anyway", score("in.parquet")["run_id"])
    assert done.code == 2
    assert "was not held back by a gate, it is done" in done.err
    assert run("score", "--publish-anyway", "nobody").code == 2
    done = run("score", "in.parquet", "--publish-anyway", summary["run_id"])
    assert done.code == 2
    assert "--publish-anyway takes its INPUT from the run" in done.err
    for more in (("--output", "other.csv"), ("--limit", 3), ("--overwrite",), ("--model", "mini")):
        done = run("score", "--publish-anyway", summary["run_id"], *more)
        assert done.code == 2
        assert f"--publish-anyway takes {more[0]} from the run" in done.err
    done = run("score", "--publish-anyway", summary["run_id"], "--gate", "rows>9")
    assert (done.code, "--publish-anyway asks no gate" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        ({"rows": 0}, ["rows is 0, not >= 1"]),
        ({"rows": 100, "blank": 55}, ["labelled_share is 0.45, not >= 0.5"]),
        ({"rows": 100, "undated": 10}, ["dated_share is 0.9, not >= 0.95"]),
        (
            {"rows": 100, "blank": 100, "undated": 100},
            ["labelled_share is 0", "dated_share is 0"],
        ),
    ],
)
def test_the_default_gates(held, score, night, given, failed):
    night(**given)
    summary, _ = held("in.parquet")
    for reason in failed:
        assert reason in summary["error"]
    assert score("in.parquet", "--no-default-gates")["gates"] == []
    # A trial shows what is there, and replaces nothing whole.
    assert score("in.parquet", "--limit", 20, "-o", "trial.csv")["gates"] == []


def test_shares_of_few_rows_are_judged_where_they_were_named(held, score, night):
    night(rows=99, blank=99, undated=99)
    assert [gate["gate"] for gate in score("in.parquet")["gates"]] == ["rows>=1"]
    summary, _ = held("in.parquet", "--gate", "labelled_share>=0.5")
    assert "labelled_share is 0, not >= 0.5" in summary["error"]


def test_a_gate_on_the_same_figure_replaces_a_default(score, night):
    night(rows=100, blank=75)
    summary = score("in.parquet", "--gate", "labelled_share>=0.2")
    assert [(g["gate"], g["holds"]) for g in summary["gates"]] == [
        ("rows>=1", True), ("dated_share>=0.95", True), ("labelled_share>=0.2", True),
    ]  # fmt: skip


def test_without_a_time_column_there_is_no_time_to_judge(score, tmp_path):
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "in.parquet")
    summary = score("in.parquet", "--gate", "dated_share>=1")
    assert summary["warnings"] == ["dated_share has no value: dated_share>=1 was not checked"]
    assert score("in.parquet")["warnings"] == []


@pytest.mark.parametrize("text", ["labeled_share>=1", "rows", "no-regression", "p_positive>1"])
def test_a_gate_that_means_nothing_is_refused_before_any_work(run, night, tmp_path, text):
    night()
    for more in ((), ("--dry-run",)):
        done = run("score", "in.parquet", "--gate", text, *more)
        assert done.code == 2
        assert "labelled_share" in done.err
    assert not (tmp_path / "finsent.duckdb").exists()


def test_gates_from_the_settings_file(run, night, tmp_path, tiny_model):
    night()
    (tmp_path / "n.toml").write_text('[score]\ngate = ["rows>=21"]\ndefault-gates = false\n')
    done = run("--config", "n.toml", "score", "in.parquet", "--model", tiny_model)
    assert done.code == 3
    assert "rows is 20, not >= 21" in done.err


def test_the_figures_are_those_of_what_is_published(score, held, night, tmp_path):
    night(rows=40, blank=4, undated=1)
    summary = score("in.parquet", "-o", "out.parquet")
    figures, rows = summary["figures"], pl.read_parquet(tmp_path / "out.parquet")
    assert set(figures) == set(FIGURES)
    labelled = rows.filter(pl.col("sentiment").is_not_null())
    assert figures["rows"] == rows.height == figures["least_rows"]
    assert figures["labelled_share"] == labelled.height / rows.height
    assert figures["empty_share"] == 0.1
    assert figures["dated_share"] == 39 / 40
    assert figures["mean_score"] == pytest.approx(labelled["sentiment_score"].mean(), abs=1e-5)
    sure = labelled.select(pl.max_horizontal("p_negative", "p_neutral", "p_positive")).to_series()
    assert figures["mean_confidence"] == pytest.approx(sure.mean(), abs=1e-5)
    for label in ("negative", "neutral", "positive"):
        share = (labelled["sentiment"] == label).mean()
        assert figures[f"{label}_share"] == pytest.approx(share, abs=1e-5)


def test_the_worst_input_of_a_folder_can_be_gated(held, score, night):
    night("feeds/a")
    night("feeds/b", rows=4, blank=3, undated=1)
    assert score("feeds", "-o", "labelled")["figures"]["labelled_share"] == pytest.approx(21 / 24)
    gates = ("--gate", "least_labelled_share>=.5", "--gate", "least_rows>4")
    summary, _ = held("feeds", "-o", "labelled", *gates, "--gate", "least_dated_share>.8")
    failed = [g["reason"] for g in summary["gates"] if g["holds"] is False]
    assert failed == [
        "least_labelled_share is 0.25, not >= 0.5", "least_rows is 4, not > 4",
        "least_dated_share is 0.75, not > 0.8",
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["committed", "publish"])
@pytest.mark.parametrize("passes", [True, False])
def test_after_a_kill_around_the_audit_the_next_run_decides_alike(
    run_process, held, score, night, tmp_path, tiny_model, place, passes
):
    night(blank=2)
    gate = ("--gate", "labelled_share>=0.9" if passes else "labelled_share>0.9")
    killed = run_process(
        *("score", "in.parquet", *gate, "--model", tiny_model, "--weights", "fp32"),
        env={"FINSENT_FAILPOINT": f"{place}:kill"},
    )
    # A run that fails its gate never comes to the place where rows are published.
    assert killed.code == (-9 if passes or place == "committed" else 3)
    assert not (tmp_path / "in.scored.parquet").exists()
    summary = score("in.parquet", *gate) if passes else held("in.parquet", *gate)[0]
    assert summary["figures"]["labelled_share"] == 0.9
    assert summary["rows"]["unique_scored"] == 0
    assert (tmp_path / "in.scored.parquet").exists() is passes


def test_what_was_held_back_is_told(held, run, night, tmp_path, tiny_model):
    night(rows=100)
    script = tmp_path / "notify.py"
    script.write_text("import pathlib, sys\npathlib.Path('n.json').write_text(sys.stdin.read())\n")
    notice = ("--notify-command", f"'{sys.executable}' '{script}'", "--metrics-file", "m.prom")
    summary, _ = held("in.parquet", "--gate", "rows>100", *notice)
    told = json.loads((tmp_path / "n.json").read_text())
    assert (told["status"], told["exit_code"], told["error"]) == ("held", 3, summary["error"])
    lines = (tmp_path / "m.prom").read_text().splitlines()
    assert "finsent_last_run_exit_code 3" in lines
    assert "finsent_last_success_timestamp_seconds 0" in lines
    assert 'finsent_last_run_gate_failed{gate="rows>100"} 1' in lines
    assert 'finsent_last_run_gate_failed{gate="dated_share>=0.95"} 0' in lines
    assert 'finsent_last_run_figure{figure="labelled_share"} 1' in lines
    report = run("report", "--format", "md")
    assert "Held back, not published: rows is 100, not" in report.out
    assert run("report", "--gate", "labelled_share>=1").code == 0
    failed = run("report", "--gate", "dated_share>1")
    assert failed.code == 3
    assert "dated_share is 1, not > 1" in failed.err
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        found = store.execute("SELECT status, exit_code FROM runs").fetchall()
        assert found == [("held", 3)]
        assert store.execute("SELECT count(*) FROM run_files").fetchall() == [(0,)]
        assert store.execute("SELECT count(*) FROM scores").fetchall() == [(100,)]
