"""Reports in a real browser: nothing loaded, nothing logged, every chart drawn, wide or narrow."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from ..helpers.browser import find_chromium, opened, started

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine (apt-get install chromium)"
)

RUN_CHARTS = {
    "label-mix", "score-distribution", "confidence-histogram", "sentiment-by-time",
    "label-history", "reuse",
}  # fmt: skip
EVALUATION_CHARTS = {"confusion", "per-class", "reliability", "coverage"}
ATTACK = "<script>document.title = 'taken'; alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def browser():
    with started() as running:
        yield running


@pytest.fixture
def run_report(run, score, wordy, tmp_path):
    """The report on a second run; a headline attacks its reader."""
    start = datetime(2026, 3, 2)
    for night in range(2):
        texts = [*wordy(120)[night * 30 :], f"{ATTACK} {night}", "nokia " * 40 + "x" * 300]
        times = [start + timedelta(days=4 * night, hours=i) for i in range(len(texts))]
        frame = pl.DataFrame({"published_at": times, "headline": texts})
        frame.write_parquet(tmp_path / f"night{night}.parquet")
        score(f"night{night}.parquet")
    done = run("report", "-o", "report.html", "--headlines", 100, "--gate", "psi<100")
    assert done.code == 0, done.err
    return tmp_path / "report.html"


@pytest.fixture
def evaluation_report(run, tiny_model, wordy, tmp_path):
    """The report on an evaluation of two models; one of the headlines attacks its reader."""
    labels = ["negative", "neutral", "positive"]
    rows = [(text, labels[i % 3]) for i, text in enumerate([*wordy(40), ATTACK, "  "])]
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(tmp_path / "l.csv")
    folder = tmp_path / "models-of-the-desk" / "2026-03-fine-tuned-on-our-own-labels"
    folder.mkdir(parents=True)
    model = folder / "checkpoint-000012"
    model.symlink_to(tiny_model)
    gate = ("--gate", "no-regression", "--gate", "accuracy>=0.0")
    done = run(
        "evaluate", "--model", model, "--against", model, "--data", "l.csv", "-o", "e", *gate
    )
    assert done.code == 0, done.err
    return tmp_path / "e" / "report.html"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_run_report(browser, run_report, width):
    with opened(browser, run_report, width) as seen:
        assert seen.charts() == dict.fromkeys(RUN_CHARTS, True)
        assert seen.too_wide() <= 0
        assert seen.page.title() == "Run report: night1.parquet"
        assert ATTACK in seen.page.inner_text("#strongest")
        assert seen.page.query_selector_all("script, [onerror], img[src=x]") == []
        seen.page.click("#sentiment summary")
        assert "mean score" in seen.page.inner_text("#sentiment details")
        assert seen.console == []
        assert seen.requests == [run_report.as_uri()]


@pytest.mark.parametrize("width", [1280, 390])
def test_an_evaluation_report(browser, evaluation_report, width):
    with opened(browser, evaluation_report, width) as seen:
        expected = {*EVALUATION_CHARTS, "confusion-against"}
        assert seen.charts() == dict.fromkeys(expected, True)
        assert seen.too_wide() <= 0
        assert seen.page.query_selector_all("script, [onerror], img[src=x]") == []
        assert seen.console == []
        assert seen.requests == [evaluation_report.as_uri()]


def test_the_report_on_an_empty_store(browser, run, tmp_path, tiny_model):
    pl.DataFrame({"text": ["oil rises"], "label": ["positive"]}).write_csv(tmp_path / "l.csv")
    assert run("evaluate", "--model", tiny_model, "--data", "l.csv", "-o", "e").code == 0
    assert run("report", "-o", "report.html").code == 0
    with opened(browser, tmp_path / "report.html") as seen:
        assert "The store is empty" in seen.page.inner_text("body")
        assert seen.console == []


def test_a_script_would_not_run_even_if_it_came_through(browser, run_report):
    text = run_report.read_text("utf-8")
    run_report.write_text(text.replace("</main>", f"{ATTACK}</main>"), "utf-8")
    with opened(browser, run_report) as seen:
        assert seen.page.title() == "Run report: night1.parquet"
        assert not any("dialog" in line for line in seen.console)
        assert any("Content Security Policy" in line for line in seen.console)


def test_a_report_prints_on_paper_with_every_chart(browser, run_report, tmp_path):
    with opened(browser, run_report) as seen:
        seen.page.emulate_media(media="print")
        assert seen.charts() == dict.fromkeys(RUN_CHARTS, True)
        assert seen.page.pdf(format="A4").startswith(b"%PDF")
