"""`evaluate`'s report.html, and the figures that it draws."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finsent_batch.labels import LABELS
from finsent_batch.metrics.classification import (
    accuracy_by_coverage,
    evaluate_predictions,
    reliability,
)
from finsent_batch.reports.evaluation_page import evaluation_page, training_log
from finsent_batch.reports.page import to_html, to_markdown

SURE = {0: (0.9, 0.1, 0.0), 1: (0.3, 0.6, 0.1), 2: (0.0, 0.2, 0.8)}


def page_of(rows, log=(), **more):
    """The report on (true label, predicted label or None) pairs, each as sure as `SURE` says."""
    probabilities = np.array(
        [(np.nan,) * 3 if said is None else SURE[said] for _, said in rows], dtype=np.float32
    )
    truth = np.array([true for true, _ in rows], dtype=np.int64)
    metrics = evaluate_predictions(truth, probabilities)
    metrics |= {"model": "m$1", "model_fingerprint": "f", "weights": "fp32", "data": "d.csv"}
    columns = {f"p_{label}": probabilities[:, i] for i, label in enumerate(LABELS)}
    frame = pl.DataFrame(
        {
            "headline": [f"row {i} <b>" for i in range(len(rows))],
            "label": [LABELS[i] for i in truth],
        }
        | columns
    )
    return evaluation_page(metrics | more, frame.fill_nan(None), log)


def charts(page):
    return {chart.name for section in page.sections for chart in section.charts}


def section(page, name):
    return next(s for s in page.sections if s.id == name)


def test_mistakes_are_listed_from_the_most_confident_on():
    page = page_of([(0, 0), (0, 1), (1, 0), (1, 2), (2, None)])
    [table] = section(page, "mistakes").tables
    assert [(row[0], row[1], row[2]) for row in table.rows] == [
        ("0.900", "neutral, negative", "row 2 <b>"),
        ("0.800", "neutral, positive", "row 3 <b>"),
        ("0.600", "negative, neutral", "row 1 <b>"),
    ]
    assert "3 rows wrong" in section(page, "mistakes").text
    assert "row 2 &lt;b&gt;" in to_html(page)
    assert "row 2 &lt;b&gt;" in to_markdown(page)


@pytest.mark.parametrize("rows", [[(0, 0), (1, 1), (2, 2)], [(1, 1)], [(0, None), (1, None)]])
def test_without_mistakes_classes_or_answers(rows):
    page = page_of(rows)
    assert section(page, "mistakes").text == "There are none."
    assert charts(page) == {"confusion", "per-class", "reliability", "coverage"}
    assert to_html(page).count("<img") == 4


def test_thresholds_say_what_leaving_rows_open_costs_and_gains():
    page = page_of([(0, 0), (0, 0), (1, 2), (1, 1), (2, 1), (1, None)])
    [table] = section(page, "confidence").tables
    assert table.rows[0] == ("none", "83.3%", "60.0%")
    assert table.rows[3] == ("0.70", "50.0%", "66.7%")
    assert table.rows[-1] == ("0.95", "0.0%", "–")


def test_coverage_drops_rows_of_equal_confidence_together():
    probabilities = np.array([SURE[0], SURE[0], SURE[2], SURE[1]], dtype=np.float32)
    thresholds, coverage, accuracy = accuracy_by_coverage(np.array([0, 1, 2, 1]), probabilities)
    assert thresholds == pytest.approx([0.9, 0.8, 0.6])
    assert coverage == pytest.approx([0.5, 0.75, 1])
    assert accuracy == pytest.approx([0.5, 2 / 3, 0.75])
    empty = accuracy_by_coverage(np.array([0]), np.full((1, 3), np.nan, dtype=np.float32))
    assert [len(part) for part in empty] == [0, 0, 0]


def test_reliability_bins_say_what_the_calibration_error_weighs():
    probabilities = np.array([SURE[0], SURE[0], SURE[1]], dtype=np.float32)
    first, last = reliability(np.array([0, 1, 1]), np.array([0, 0, 1]), probabilities, bins=10)
    assert (first.rows, first.accuracy, first.low, first.high) == (1, 1.0, 0.5, 0.6)
    assert (last.rows, last.accuracy) == (2, 0.5)
    assert (first.confidence, last.confidence) == pytest.approx((0.6, 0.9))


# ---- the learning curve


LOG = [{"epoch": 0.5, "loss": 1.0}, {"epoch": 1, "eval_loss": 0.9, "eval_accuracy": 0.6}]


def test_the_learning_curve_is_drawn_where_training_left_a_log(tmp_path):
    (tmp_path / "training_log.json").write_text(json.dumps(LOG))
    assert training_log(tmp_path) == LOG
    assert "learning-curve" in charts(page_of([(0, 0)], log=LOG))


def test_the_learning_curve_takes_the_loss_where_accuracy_was_not_measured():
    log = [entry | {"eval_loss": 0.5} for entry in LOG]
    for curve in ([LOG[0], {"epoch": 1, "eval_loss": 0.9}], log, LOG[:1] * 2):
        [chart] = section(page_of([(0, 0)], log=curve), "training").charts
        assert ("accuracy" in chart.alt) is any("eval_accuracy" in entry for entry in curve)


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"loss": 1}', "[[1]]", "5"])
def test_a_log_that_is_none_is_no_failure(tmp_path, content):
    if content is not None:
        (tmp_path / "training_log.json").write_text(content)
    assert training_log(tmp_path) == []


# ---- through the command


@pytest.fixture
def labelled(wordy, tmp_path) -> Path:
    rows = [(text, LABELS[i % 3]) for i, text in enumerate(wordy(30))]
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(tmp_path / "l.csv")
    return tmp_path / "l.csv"


def test_gates_are_kept_in_figures_and_report(run, labelled, tiny_model, tmp_path):
    arguments = ("--model", tiny_model, "--data", labelled, "-o", "e", "--against", tiny_model)
    done = run("evaluate", *arguments, "--gate", "accuracy>=1.01", "--gate", "no-regression")
    assert done.code == 3
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert [(g["gate"], g["holds"]) for g in metrics["gates"]] == [
        ("accuracy>=1.01", False),
        ("no-regression", True),
    ]
    text = (tmp_path / "e" / "report.html").read_text("utf-8")
    assert "Gate failed: accuracy is" in text
    assert "McNemar's p = " in text.replace("&#x27;", "'").replace("&#39;", "'")
    assert "accuracy&gt;=1.01" in text
    assert text.count("<img") == 5


@pytest.mark.parametrize("gate", ["acuracy>=0.8", "accuracy>=0.8.1", "per_class.neutral>=1"])
def test_a_gate_that_cannot_be_meant_costs_no_evaluation(run, labelled, tiny_model, tmp_path, gate):
    arguments = ("--model", tiny_model, "--data", labelled, "-o", "e")
    assert run("evaluate", *arguments, "--gate", gate).code == 2
    assert not (tmp_path / "e").exists()
