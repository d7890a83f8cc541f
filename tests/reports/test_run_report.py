"""`report`: what it says of a run, and what it does where there is little to say."""

import json
from datetime import datetime, timedelta

import duckdb
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.labels import LABELS
from finsent_batch.metrics.drift import population_stability_index
from finsent_batch.reports.run_data import RunData
from finsent_batch.reports.verdict import verdict
from finsent_batch.store.store import Store

from ..helpers.nights import score_nights

START = datetime(2026, 3, 2, 6)


@pytest.fixture(scope="module")
def kept(wordy, tmp_path_factory, tiny_model):
    """Three runs, scored once for all tests that change nothing of what they published."""
    return score_nights(wordy, tmp_path_factory.mktemp("nights"), tiny_model)


@pytest.fixture
def nights(kept, tmp_path):
    """The summaries of three runs, whose files and store are in the working folder."""
    return kept.copy(tmp_path)


def as_json(run, *arguments):
    done = run("report", "--format", "json", *arguments)
    assert done.code == 0, done.err
    return done.json


# ---- what it says


def test_the_latest_run_is_reported(run, nights):
    found = as_json(run)
    assert found["schema_version"] == 1
    assert found["run"]["run_id"] == nights[2]["run_id"]
    assert found["rows"] == nights[2]["rows"]
    assert found["labels"] == {**dict.fromkeys(LABELS, 0), **nights[2]["labels"]}
    assert found["histograms"] == nights[2]["histograms"]
    assert found["seconds"] == nights[2]["seconds"]
    assert found["notes"] == []


def test_the_coverage_of_a_least_confidence_is_reported(run, score, wordy, tmp_path):
    frame = pl.DataFrame({"headline": wordy(20)})
    frame.write_parquet(tmp_path / "sure.parquet")
    summary = score("sure.parquet", "--min-confidence", "0.4")
    page = run("report", "-o", "sure.md")
    assert page.code == 0, page.err
    share = f"{summary['confidence']['coverage']:.0%}"
    lines = (tmp_path / "sure.md").read_text().splitlines()
    assert any("at least 0.4 sure" in line and share in line for line in lines)


def test_histograms_are_those_of_the_published_rows(nights, tmp_path):
    frame = pl.read_parquet(tmp_path / "n2.scored.parquet").drop_nulls("sentiment")
    scores = frame["sentiment_score"]
    found = nights[2]["histograms"]
    assert sum(found["confidence"]) == sum(found["sentiment_score"]) == frame.height == 41
    assert sum(found["sentiment_score"][:10]) == (scores < -1e-6).sum()
    confidence = frame.select(pl.max_horizontal(f"p_{label}" for label in LABELS)).to_series()
    assert sum(found["confidence"][12:]) == (confidence >= 0.9).sum()


def test_drift_compares_with_the_earlier_runs_of_the_same_model(run, nights):
    drift = as_json(run)["drift"]
    before = [sum(n["labels"].get(label, 0) for n in nights[:2]) for label in LABELS]
    now = [nights[2]["labels"].get(label, 0) for label in LABELS]
    assert drift["baseline"]["labels"] == before
    assert drift["psi_labels"] == pytest.approx(population_stability_index(now, before))
    tenths = [
        [sum(n["histograms"]["confidence"][i] for n in part for i in (b, b + 1))
         for b in range(0, 14, 2)]
        for part in (nights[2:], nights[:2])
    ]  # fmt: skip
    assert drift["psi_confidence"] == pytest.approx(population_stability_index(*tenths))
    assert drift["psi"] == max(drift["psi_labels"], drift["psi_confidence"])
    found = as_json(run, "--baseline-runs", 1)
    assert [b["run_id"] for b in found["baseline"]] == [nights[1]["run_id"]]
    assert as_json(run, "--run", nights[0]["run_id"])["drift"]["psi"] is None


@pytest.mark.parametrize(
    ("labels", "confidence", "state", "words"),
    [
        ((0.05, 0.01), (0.01, 0.01), "good", "spread as in earlier runs"),
        ((0.15, 0.01), (0.01, 0.01), "", "differs somewhat from earlier runs (PSI 0.15)"),
        ((0.01, 0.01), (0.25, 0.1), "bad", "differs from earlier runs (PSI 0.25)"),
        ((0.25, 0.3), (0.05, 0.1), "good", "chance alone explains its drift (PSI 0.25)"),
        ((0.25, None), (None, None), "bad", "differs from earlier runs (PSI 0.25)"),
    ],
)
def test_the_verdict_judges_drift_beyond_chance(labels, confidence, state, words):
    data = RunData(store="s", run={"status": "done"}, rows={"read": 9}, labels={"neutral": 9})
    drift = {"psi_labels": labels[0], "chance_labels": labels[1]}
    drift |= {"psi_confidence": confidence[0], "chance_confidence": confidence[1]}
    drift["psi"] = max(labels[0], confidence[0] or 0)
    found, said = verdict(data, drift, [])
    assert found == state
    assert words in said


def test_a_night_that_was_scored_again_is_no_part_of_its_baseline(run, nights, tiny_model):
    psi = []
    for name in ("n2.parquet", "./n2.parquet", "n2.parquet"):
        options = ("-o", "again.parquet", "--model", tiny_model, "--weights", "fp32")
        assert run("score", name, *options).code == 0
        found = as_json(run)
        assert [b["run_id"] for b in found["baseline"]] == [n["run_id"] for n in nights]
        psi.append(found["drift"]["psi"])
    assert psi == psi[:1] * 3


def test_another_model_s_runs_are_no_baseline(run, nights, tmp_path):
    with duckdb.connect(tmp_path / "finsent.duckdb") as store:
        store.execute(
            "UPDATE runs SET model_fingerprint = 'other' WHERE run_id = ?", [nights[0]["run_id"]]
        )
    assert [b["run_id"] for b in as_json(run)["baseline"]] == [nights[1]["run_id"]]


def test_sentiment_by_time_and_the_strongest_headlines_come_from_the_rows(run, nights, tmp_path):
    found = as_json(run, "--headlines", 3)
    frame = pl.read_parquet(tmp_path / "n2.scored.parquet").drop_nulls("sentiment")
    assert found["time_unit"] == "hour"
    assert sum(row["headlines"] for row in found["by_time"]) == frame.height
    assert found["metrics"]["mean_score"] == pytest.approx(frame["sentiment_score"].mean())
    for label, descending in (("negative", False), ("positive", True)):
        strongest = (
            frame.filter(pl.col("sentiment") == label)
            .unique("headline")
            .sort("sentiment_score", descending=descending)["headline"]
            .head(3)
        )
        assert [r["headline"] for r in found[f"most_{label}"]] == strongest.to_list()


def test_longer_runs_go_by_day(run, score, wordy, tmp_path):
    times = [START + timedelta(days=i) for i in range(40)]
    frame = pl.DataFrame({"day": times, "headline": wordy(40)})
    frame.write_parquet(tmp_path / "f.parquet")
    score("f.parquet")
    found = as_json(run)
    assert found["by_time"] == []
    assert "name the one that holds the time of publication with --date-column" in found["notes"][0]
    found = as_json(run, "--date-column", "day")
    assert (found["time_unit"], len(found["by_time"])) == ("day", 40)
    done = run("report", "--date-column", "dya")
    assert done.code == 2
    assert "--date-column dya: " in done.err
    assert "has no such column; it has: day" in done.err


def test_quarantined_rows_are_counted_by_reason(run, score, tmp_path):
    (tmp_path / "q.csv").write_text("id,headline\n1,oil falls\n2,a,b\n3,c,d\n4,e,f,g\n")
    score("q.csv", "--max-bad-rows", 5)
    found = as_json(run)
    assert [(q["reason"], q["rows"], q["line"]) for q in found["quarantine"]] == [
        ("3 fields instead of 2", 2, 3),
        ("4 fields instead of 2", 1, 5),
    ]
    assert found["metrics"]["quarantined"] == 3
    assert "line 3" in run("report").out


# ---- runs and stores with little to say


def test_an_empty_store(run, tmp_path):
    with Store.open(StoreConfig(path=tmp_path / "finsent.duckdb")):
        pass
    for suffix in ("html", "md", "json"):
        done = run("report", "-o", f"r.{suffix}")
        assert done.code == 0, done.err
    assert "The store is empty: no run" in (tmp_path / "r.html").read_text()
    assert "The store is empty: no run" in (tmp_path / "r.md").read_text()
    assert json.loads((tmp_path / "r.json").read_text())["run"] is None


@pytest.mark.parametrize("rows", [[], [None, "  "]])
def test_a_run_without_labels(run, score, tmp_path, rows):
    pl.DataFrame({"headline": pl.Series(rows, dtype=pl.String)}).write_parquet(
        tmp_path / "e.parquet"
    )
    score("e.parquet", "--no-default-gates")
    done = run("report", "-o", "r.html", "--gate", "psi<0.2")
    assert done.code == 0, done.err
    assert "psi has no value: psi<0.2 was not checked" in done.err
    said = "No row of this run has a label" if rows else "This run read no rows"
    assert said in (tmp_path / "r.html").read_text()


def test_a_run_that_was_killed_and_one_that_failed(run, nights, tmp_path):
    with duckdb.connect(tmp_path / "finsent.duckdb") as store:
        first, last = nights[0]["run_id"], nights[2]["run_id"]
        store.execute("UPDATE runs SET status = 'running', summary = NULL, exit_code = NULL, "
                      "finished_at = NULL, tokens = NULL WHERE run_id = ?", [last])  # fmt: skip
        store.execute("UPDATE runs SET status = 'failed' WHERE run_id = ?", [first])
    found = run("report")
    assert found.code == 0, found.err
    assert "This run was killed: it published 0 rows." in found.out
    assert "This run failed: it published 42 rows." in run("report", "--run", first).out
    assert as_json(run, "--run", nights[1]["run_id"])["baseline"] == []


def test_outputs_that_are_gone_or_replaced_cost_the_rows_not_the_report(
    run, score, wordy, tiny_model, tmp_path
):
    nights = score_nights(wordy, tmp_path, tiny_model).summaries
    score("n1.parquet", "-o", "n2.scored.parquet", "--overwrite")
    (tmp_path / "n1.scored.parquet").unlink()
    for night in (1, 2):
        found = as_json(run, "--run", nights[night]["run_id"])
        assert "1 of 1 outputs of this run are gone or were replaced" in found["notes"][0]
        assert found["by_time"] == found["most_negative"] == []
        assert sum(found["labels"].values()) == 41
        assert run("report", "--run", nights[night]["run_id"], "-o", "r.html").code == 0


def test_an_output_that_cannot_be_read_is_noted(run, wordy, tiny_model, tmp_path):
    score_nights(wordy, tmp_path, tiny_model)
    (tmp_path / "n2.scored.parquet").write_text("no Parquet")
    [note] = as_json(run)["notes"]
    assert note.startswith("published rows cannot be read: ")


def test_a_run_of_a_version_that_kept_no_histograms(run, nights, tmp_path):
    with duckdb.connect(tmp_path / "finsent.duckdb") as store:
        store.execute(
            "UPDATE runs SET summary = json_merge_patch(summary, '{\"histograms\": null}')"
        )
    assert as_json(run)["drift"]["psi_confidence"] is None
    done = run("report", "-o", "r.html")
    assert done.code == 0, done.err
    assert "which kept no histograms" in (tmp_path / "r.html").read_text()
