"""The totals of every query, against SQL of its own over the inputs: zones, formats and all."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest

NEW_YORK, LONDON, KOLKATA = map(ZoneInfo, ("America/New_York", "Europe/London", "Asia/Kolkata"))
START = datetime(2014, 1, 5, 18, tzinfo=UTC)


def moments(count, first=0):
    """Moments around several midnights of several zones, 7 hours apart."""
    return [START + timedelta(hours=7 * (first + i)) for i in range(count)]


@pytest.fixture
def feeds(score, wordy, tmp_path):
    """Five feeds of five ways to say a time; returns {input: [(moment or None, source)]}."""
    said = {
        "a.csv": lambda m: m.astimezone(NEW_YORK).strftime("%a, %d %b %Y %H:%M:%S EST"),
        "b.tsv": lambda m: m.astimezone(KOLKATA).strftime("%d/%m/%Y %H:%M"),
        "c.jsonl": lambda m: m.astimezone(LONDON).strftime("%Y-%m-%dT%H:%M:%S%z"),
        "d.parquet": lambda m: m,
        "e.duckdb": lambda m: int(m.timestamp()),
    }
    truth = {}
    for number, (name, write) in enumerate(said.items()):
        texts = wordy(20 * number + 20)[20 * number :]
        times = moments(20, first=number)
        sources = [("wire", "blog", "press")[(i + number) % 3] for i in range(20)]
        values = [write(m) for m in times]
        if name == "a.csv":
            values[3] = "soon"
            values[4] = ""
            times = [None if i in (3, 4) else m for i, m in enumerate(times)]
        frame = pl.DataFrame({"headline": texts, "source": sources, "published_at": values})
        if name.endswith(".csv"):
            frame.write_csv(name)
        elif name.endswith(".tsv"):
            frame.write_csv(name, separator="\t")
        elif name.endswith(".jsonl"):
            frame.write_ndjson(name)
        elif name.endswith(".parquet"):
            frame.write_parquet(name)
        else:
            with duckdb.connect(name) as connection:
                connection.register("frame", frame.to_arrow())
                connection.execute("CREATE TABLE t AS FROM frame")
        truth[name] = list(zip(texts, times, sources, strict=True))
    score("a.csv", "-o", "a.out.csv", "--no-default-gates")
    score("b.tsv", "--timezone", "Asia/Kolkata", "--date-format", "dmy")
    for name in ("c.jsonl", "d.parquet"):
        score(name, "-o", "news.duckdb", "--output-table", name[0], "--append")
    score("e.duckdb", "--table", "t")
    return truth


@pytest.fixture
def rows(feeds):
    """(day or None, source, sentiment score, label) of each row, by the scores in the store."""
    with duckdb.connect("finsent.duckdb", read_only=True) as store:
        scores = {
            headline: (score, label)
            for headline, score, label in store.execute(
                "SELECT headline, p_positive - p_negative, CASE greatest(p_negative, p_neutral, "
                "p_positive) WHEN p_neutral THEN 'neutral' WHEN p_positive THEN 'positive' "
                "ELSE 'negative' END FROM scores"
            ).fetchall()
        }
    return [
        (moment and moment.astimezone(UTC).date(), source, *scores[text])
        for feed in feeds.values()
        for text, moment, source in feed
    ]


@pytest.fixture
def ask(run, feeds):
    def call(name, *parameters):
        options = [part for p in parameters for part in ("--param", p)]
        done = run("query", name, *options, "--format", "json")
        assert done.code == 0, done.err
        return done.json

    return call


def test_totals_of_every_query(ask, rows):
    by_day = Counter(day for day, *_ in rows)
    assert by_day[None] == 2
    scores = defaultdict(list)
    for day, _, score, _ in rows:
        scores[day].append(score)
    daily = ask("daily_sentiment")
    assert {r["day"] and date.fromisoformat(r["day"]): r["headlines"] for r in daily} == by_day
    for row in daily:
        found = scores[row["day"] and date.fromisoformat(row["day"])]
        assert row["mean_score"] == pytest.approx(sum(found) / len(found), abs=1e-4)

    rolling = {date.fromisoformat(r["day"]): r["headlines"] for r in ask("rolling_sentiment")}
    assert rolling == {day: count for day, count in by_day.items() if day}

    labels = Counter(label for *_, label in rows)
    assert {r["sentiment"]: r["rows"] for r in ask("label_mix")} == labels
    assert sum(r["headlines"] for r in ask("confidence_histogram")) == len(rows)
    sources = Counter(source for _, source, *_ in rows)
    assert {r["value"]: r["headlines"] for r in ask("sentiment_by", "by_column=source")} == sources
    since = date(2014, 1, 8)
    later = Counter(source for day, source, *_ in rows if day and day >= since)
    found = ask("sentiment_by", "by_column=source", f"since={since}")
    assert {r["value"]: r["headlines"] for r in found} == later
    assert len(ask("labelled", "limit=1000")) == len(rows)
    for name, sign in (("most_negative", 1), ("most_positive", -1)):
        strongest = sorted(sign * score for day, _, score, _ in rows if day and day >= since)
        found = [sign * r["sentiment_score"] for r in ask(name, f"since={since}", "limit=5")]
        assert found == pytest.approx(strongest[:5], abs=1e-6)

    last = max(day for day in by_day if day)
    recent = [r for r in rows if r[0] and last - timedelta(days=1) <= r[0]]
    found = ask("drift", f"since={last - timedelta(days=1)}")
    assert {r["bin"]: r["recent"] for r in found if r["measure"] == "sentiment"} == {
        label: sum(r[3] == label for r in recent) for label in ("negative", "neutral", "positive")
    }


def test_the_undated_are_told_beside_every_query_by_day(run, feeds):
    for name in ("daily_sentiment", "rolling_sentiment", "drift", "labelled", "most_negative"):
        done = run("query", name)
        assert " 2 of 100 rows have no time that can be read" in done.err, name
    assert "no time that can be read" not in run("query", "label_mix").err


def test_the_view_and_the_command_give_the_same_rows(run, feeds):
    sql = "SELECT news_text, news_time, source, sentiment FROM scored_headlines ORDER BY ALL"
    said = run("query", "--sql", sql, "--format", "json").json
    with duckdb.connect("finsent.duckdb", read_only=True) as shell:
        shell.execute("SET TimeZone = 'Asia/Tokyo'")
        rows = shell.sql(sql).fetchall()
    assert [r["news_text"] for r in said] == [row[0] for row in rows]
    assert [r["news_time"] and datetime.fromisoformat(r["news_time"]) for r in said] == [
        row[1] for row in rows
    ]
    assert len(rows) == 100
