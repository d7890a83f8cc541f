"""A night beside those before it: figures without labels, bands, sources and columns."""

import contextlib
import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from finsent_batch.metrics.confidence import reach_of
from finsent_batch.metrics.figures import FIGURES
from finsent_batch.store.nights import feed_of

from ..helpers.nights import Kept, scored

MONDAY = datetime(2026, 3, 2)
SOURCES = ("wire", "paper", "web")


@pytest.fixture(scope="module")
def write(wordy):
    """Write the file of a day, so many after a Monday, in the working folder; returns its name."""
    texts = wordy(2000)

    def make(day, rows=40, start=None, name=None, more=None, **columns):
        first = day * 40 if start is None else start
        frame = {
            "published_at": [MONDAY + timedelta(days=day, minutes=i) for i in range(rows)],
            "headline": texts[first : first + rows],
            "source": [SOURCES[i % 3] for i in range(rows)],
            **columns,
        }
        name = name or f"{MONDAY + timedelta(days=day):%Y-%m-%d}.parquet"
        pl.DataFrame(frame).write_parquet(name)
        return name

    return make


@pytest.fixture(scope="module")
def kept(write, tmp_path_factory, tiny_model):
    """A folder in which six working days were scored, and a copy of what it then held."""
    folder = tmp_path_factory.mktemp("week") / "feed"
    folder.mkdir()
    with contextlib.chdir(folder):
        summaries = [scored(write(day), tiny_model) for day in (0, 1, 2, 3, 4, 7)]
    copy = shutil.copytree(folder, folder.with_name("copy"))
    return folder, Kept(copy, summaries)


@pytest.fixture
def week(kept, run, monkeypatch):
    """Work where six working days were scored; returns the summaries."""
    folder, copy = kept
    shutil.rmtree(folder)
    summaries = copy.copy(folder)
    monkeypatch.chdir(folder)
    return summaries


def test_a_week_gives_bands_and_no_alarm(week, run, write, score):
    last = week[-1]
    assert [s["night"]["nights"] for s in week] == [0, 1, 2, 3, 4, 5]
    assert set(last["figures"]) == set(FIGURES)
    assert last["night"]["night"] == "2026-03-09"
    assert "rows" not in week[3]["night"]["bands"]
    assert last["night"]["bands"]["rows"]["usual"] == pytest.approx(40)
    assert not last["night"]["bands"]["rows"]["by_weekday"]
    assert [s["figures"]["alarms"] for s in week] == [0] * 6
    assert (last["figures"]["sources"], last["figures"]["missing_sources"]) == (3, 0)
    assert last["figures"]["volume_ratio"] == pytest.approx(1)
    assert last["figures"]["unseen_share"] == 1
    nights = run("query", "nights", "--format", "json").json
    assert [n["night"][:10] for n in nights] == [
        "2026-03-09", "2026-03-06", "2026-03-05", "2026-03-04", "2026-03-03", "2026-03-02",
    ]  # fmt: skip
    assert {n["status"] for n in nights} == {"published"}
    for name in set(nights[0]) & set(FIGURES):
        assert nights[0][name] == pytest.approx(last["figures"][name]), name
    # Run again, a night is judged as before, and is one night.
    again = score("2026-03-09.parquet")
    unlike = ("age_hours", "reused_share")
    assert {k: v for k, v in again["figures"].items() if k not in unlike} == {
        k: v for k, v in last["figures"].items() if k not in unlike
    }
    assert len(run("query", "nights", "--format", "json").json) == 6


PLANTED = {
    "many": ({"rows": 400}, {"rows"}),
    "none": ({"rows": 0}, {"rows"}),
    "repeated": ({"headline": ["Oil falls"] * 40}, {"distinct_share", "mean_length"}),
    "german": ({"headline": [f"Gewinn der Bank steigt auf {i} Millionen" for i in range(40)]},
               {"not_english_share"}),
    "japanese": ({"headline": [f"トヨタ、通期予想を上方修正{i}" for i in range(40)]},
                 {"not_english_share", "letter_share"}),
    "numbers": ({"headline": [f"{10**12 + i}" for i in range(40)]}, {"letter_share"}),
    "seen": ({"start": 120}, {"unseen_share"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
def test_a_night_unlike_any_before_raises_an_alarm_and_is_held_back(
    week, run, write, tiny_model, kind
):
    changes, unusual = PLANTED[kind]
    name = write(8, **changes)
    done = run("score", name, "--gate", "alarms<1", "--no-default-gates", "--model", tiny_model,
               "--as-of", "2026-03-10T23:00",
               "--weights", "fp32", "--summary", "json")  # fmt: skip
    assert done.code == 3
    summary = done.json
    assert unusual <= set(summary["night"]["unusual"])
    assert summary["figures"]["alarms"] == len(summary["night"]["unusual"])
    assert all(f"{name} " in summary["error"] for name in unusual)
    assert not Path("2026-03-10.scored.parquet").exists()
    page = run("report", "--format", "md").out
    assert "Held back, not published: alarms is" in page
    assert "| unusual |" in page
    nights = run("query", "nights", "--format", "json", "--param", "limit=1").json
    assert (nights[0]["status"], nights[0]["night"][:10]) == ("held", "2026-03-10")
    assert "alarms is" in nights[0]["reason"]


def test_what_was_held_back_is_no_part_of_what_is_usual(week, score, run, write, tiny_model):
    name = write(8, rows=400)
    options = (
        "--model",
        tiny_model,
        "--weights",
        "fp32",
        "--gate",
        "alarms<1",
        "--summary",
        "json",
    )
    first, second = run("score", name, *options), run("score", name, *options)
    assert (first.code, second.code) == (3, 3)
    same = ("bands", "unusual", "nights")
    assert [first.json["night"][k] for k in same] == [second.json["night"][k] for k in same]
    assert first.json["figures"]["unseen_share"] == second.json["figures"]["unseen_share"] == 1
    assert score(write(9))["night"]["nights"] == 6
    assert score(name, "--gate", "alarms<9")["night"]["nights"] == 7


def test_a_night_brings_the_same_however_its_inputs_are_named(week, score, write):
    folder = Path.cwd()
    names = [write(10), write(11)]
    for inputs in (
        ["2026-03-1[23].parquet", "-o", "all"],
        [names[0]],
        [f"./{names[1]}"],
        [str(folder / names[1])],
        [*names, "-o", "all"],
        [str(folder / "2026-03-1?.parquet"), "-o", "all"],
        ["2026-03-09.parquet"],
    ):
        assert score(*inputs)["figures"]["unseen_share"] == 1, inputs
    # Another content brings what it has more, another file of the same content nothing.
    frame = pl.read_parquet("2026-03-09.parquet")
    frame.write_parquet("2026-03-10.parquet")
    assert score("2026-03-10.parquet")["figures"]["unseen_share"] == 0
    more = frame.with_columns(headline=pl.col("headline").str.replace("^", "More "))
    pl.concat([frame, more]).write_parquet("2026-03-09.parquet")
    assert score("2026-03-09.parquet")["figures"]["unseen_share"] == 0.5


def test_what_is_published_anyway_is_judged_as_it_was(week, run, write, tiny_model):
    name = write(8)
    held = run("score", name, "--gate", "rows>=1000", "--model", tiny_model, "--weights", "fp32",
               "--summary", "json")  # fmt: skip
    assert (held.code, held.json["figures"]["unseen_share"]) == (3, 1)
    done = run("score", "--publish-anyway", held.json["run_id"], "--summary", "json")
    assert (done.code, done.json["figures"]["unseen_share"]) == (0, 1), done.err


def test_a_source_that_is_gone_is_missed_and_the_movers_are_named(week, score, write):
    half = score(write(8, source=["wire", "paper"] * 20))
    assert half["figures"]["missing_sources"] == 1
    assert half["figures"]["largest_source_move"] == pytest.approx(0.325, abs=0.01)
    told = {s["source"]: s for s in half["night"]["sources"]}
    assert half["night"]["sources"][0]["source"] == "web"
    assert told["web"]["rows"] == 0
    assert told["web"]["usual_mean_score"] is not None
    assert told["wire"]["share"] == 0.5


def test_the_source_column_can_be_named(score, run, write):
    desks = [f"desk {i % 4}" for i in range(40)]
    name = write(0, desk=desks)
    assert score(name, "--source-column", "Desk")["figures"]["sources"] == 4
    done = run("score", name, "--source-column", "nope")
    assert done.code == 65
    assert "has no column 'nope', named with --source-column" in done.err


def test_sources_are_counted_as_sql_counts_them(score, write, tmp_path):
    """Of several types, without a name, of several inputs and of none."""
    texts = pl.read_parquet(tmp_path / write(0))["headline"].to_list()
    texts = [*texts[:30], *texts[:5], None, "", " ", *texts[:2]]
    names = [
        write(0, headline=texts, source=["wire", None, "", "7"] * 10),
        write(1, source=[7 + i % 3 for i in range(40)]),
    ]
    pl.read_parquet(tmp_path / write(2, name="c.parquet")).drop("source").write_parquet(
        tmp_path / "c.parquet"
    )
    score(*names, "c.parquet")
    outputs = ", ".join(
        f"(SELECT CAST(source AS VARCHAR) AS source, sentiment, sentiment_score FROM "
        f"'{tmp_path / name.replace('.parquet', '.scored.parquet')}')"
        for name in names
    ).replace("), (", " UNION ALL ")
    wanted = duckdb.sql(
        f"""SELECT coalesce(source, '') AS source, count(*), count(sentiment),
        round(avg(sentiment_score), 6) FROM {outputs} GROUP BY 1 ORDER BY 2 DESC, 1"""
    ).fetchall()
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        [(found,)] = store.sql("SELECT details FROM nights").fetchall()
    sources = json.loads(found)["sources"]
    assert [(name, *source.values()) for name, source in sources.items()] == [
        (*row[:3], pytest.approx(row[3], abs=2e-6)) for row in wanted
    ]


def test_changed_columns_are_told(score, run, write):
    score(write(0, price=[1] * 40))
    summary = score(write(1, price=[1.5] * 40, ticker=["X"] * 40, source=["a"] * 40))
    assert summary["night"]["columns"] == {
        "added": ["ticker"], "missing": [], "retyped": ["price: int64 to double"],
    }  # fmt: skip
    summary = score(write(2))
    assert summary["night"]["columns"]["missing"] == ["price", "ticker"]
    assert [summary["figures"][f"columns_{k}"] for k in ("added", "missing", "retyped")] == [
        0,
        2,
        0,
    ]
    assert "columns missing since the night before: price, ticker" in run("score", write(2)).out
    assert "missing: ticker" in run("report", "--format", "md").out


def test_the_age_of_a_night_is_taken_as_of_a_time(score, run, write):
    name = write(0, rows=30)  # until 00:29 on the 2nd
    assert score(name, "--as-of", "2026-03-02T06:29")["figures"]["age_hours"] == pytest.approx(6)
    assert score(name, "--as-of", "2026-03-02T06:29+02:00")["figures"][
        "age_hours"
    ] == pytest.approx(4)
    assert score(name)["figures"]["age_hours"] > 1000
    done = run("score", name, "--as-of", "yesterday")
    assert done.code == 2
    assert "--as-of yesterday: write a date or a time" in done.err


def test_the_estimate_is_the_mean_probability_and_repeated_headlines_widen_it(
    score, write, tmp_path
):
    summary = score(write(0, rows=39))
    rows = pl.read_parquet(tmp_path / "2026-03-02.scored.parquet")
    sure = rows.select(pl.max_horizontal("p_negative", "p_neutral", "p_positive")).to_series()
    figures = summary["figures"]
    assert figures["estimated_accuracy"] == pytest.approx(sure.mean(), abs=1e-5)
    reach = reach_of((sure * (1 - sure)).sum(), 39)
    low, high = figures["estimated_accuracy_low"], figures["estimated_accuracy_high"]
    assert high == pytest.approx(min(1, sure.mean() + reach), abs=1e-5)
    assert low == pytest.approx(sure.mean() - reach, abs=1e-5)
    one = score(write(1, headline=["Oil falls"] * 40))["figures"]
    p = one["estimated_accuracy"]
    assert one["estimated_accuracy_low"] == pytest.approx(
        max(0, p - reach_of(p * (1 - p), 1)), abs=1e-5
    )


def test_trials_and_frames_are_no_nights(score, run, write):
    score(write(0), "--limit", 3, "-o", "trial.csv")
    assert run("query", "nights", "--format", "json").json == []


def test_nights_of_one_feed_differ_in_numbers_and_dates_alone():
    assert feed_of("/srv/feeds/2014-01-06.parquet", None) == "/srv/feeds/#.parquet"
    assert feed_of("/srv/eu2/2014/06.csv", None) == "/srv/eu2/#/#.csv"
    assert feed_of("/a/year=2014/month=01/x.parquet", "t1") == "/a/year=#/month=#/x.parquet::t1"
    assert feed_of("s3://b/news_20140106T0600.csv", None) == "s3://b/news_#.csv"
    assert feed_of("/a/feed1/news.csv", None) != feed_of("/a/feed2/news.csv", None)
