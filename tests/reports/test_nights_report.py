"""`report --nights`: published or held back, what moved, the charts; on nights that were scored."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from ..helpers.browser import find_chromium, opened, started

MONDAY = datetime(2026, 3, 2)
CHARTS = {"nights-rows", "nights-accuracy", "nights-labels", "nights-drift"}


@pytest.fixture
def nights(run, tiny_model, wordy, tmp_path):
    """Seven nights of one feed, the fifth held back and the last unusual; one of another feed."""
    texts = wordy(600)

    def score(name, day, rows, *options):
        start = MONDAY + timedelta(days=day)
        pl.DataFrame(
            {
                "published_at": [start + timedelta(minutes=i) for i in range(rows)],
                "headline": texts[day * 40 : day * 40 + rows],
                "source": ["wire" if i % 2 else "paper" for i in range(rows)],
            }
        ).write_parquet(tmp_path / name)
        return run("score", name, "--model", tiny_model, "--weights", "fp32", *options)

    days = (0, 1, 2, 3, 4, 7, 8)
    codes = [score("other.parquet", 0, 20).code]
    for day in days:
        rows = 10 if day == 4 else 200 if day == 8 else 40
        codes.append(score(f"2026-03-{2 + day:02}.parquet", day, rows, "--gate", "rows>=20").code)
    assert codes == [0, 0, 0, 0, 0, 3, 0, 0]
    return tmp_path


def test_the_page_says_what_became_of_nights_and_what_moved(run, nights):
    page = run("report", "--nights", 30, "--format", "md").out
    assert page.startswith("# Nights: 2026-03-02 to 2026-03-10\n")
    verdict = page.split("\n\n")[2]
    assert verdict.startswith("2026-03-10: published, but unusual: rows 200 (usual ")
    assert verdict.endswith(". Of 7 nights, 6 were published and 1 held back.")
    assert "Other feeds have pages of their own, by --feed: " in page
    moved = page.split("## What moved")[1].split("## ")[0]
    assert "| Tue 2026-03-10 | △ published, unusual | rows 200 (usual" in moved
    assert "| Fri 2026-03-06 | ✗ held back | rows is 10, not &gt;= 20 |" in moved
    assert page.index("## What moved") < page.index("## In figures")
    assert "| Mon 2026-03-09 | ✓ published | 40 |" in page
    # A night that is published later is published.
    held = run("query", "nights", "--format", "json").json[2]
    assert run("score", "--publish-anyway", held["run_id"]).code == 0
    last = run("report", "--nights", 3, "--format", "json", "--gate", "rows<100")
    assert last.code == 3
    found = last.json
    assert [night["status"] for night in found["nights"]] == ["published"] * 3
    assert found["gates"][0]["holds"] is False
    assert found["metrics"]["rows"] == 200
    assert found["nights"][-1]["compared"]["bands"]["rows"]["high"] < 200
    feed = found["other_feeds"][0]
    assert "# Night: 2026-03-02" in run("report", "--nights", 3, "--feed", feed).out
    for options, told in (
        (("--nights", 3, "--feed", "x"), "has no 'x'; it has"),
        (("--feed", feed), "add --nights 30"),
        (("--nights", 3, "--all"), "choose"),
    ):
        done = run("report", *options)
        assert (done.code, told in done.err) == (2, True)


def test_a_store_without_nights(run, tiny_model):
    pl.DataFrame({"text": ["oil rises"], "label": ["positive"]}).write_csv("l.csv")
    assert run("evaluate", "--model", tiny_model, "--data", "l.csv", "-o", "e").code == 0
    assert "No night has been judged yet" in run("report", "--nights", 1).out


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium (apt-get install chromium)")
def test_a_telephone_shows_it_whole(run, nights):
    assert run("report", "--nights", 30, "-o", "nights.html").code == 0
    with started() as browser:
        for width in (1280, 390):
            with opened(browser, nights / "nights.html", width) as seen:
                assert seen.charts() == dict.fromkeys(CHARTS, True)
                assert seen.too_wide() <= 0
                assert seen.console == []
