"""The packaged queries on small scored tables, with every row they must give."""

import re
from datetime import date, datetime

import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.queries.run import run_query
from finsent_batch.store.store import Store

# published_at, headline, then P(negative), P(neutral), P(positive); None is a row not scored.
NEWS = [
    (datetime(2024, 5, 1, 9), "Oil falls", (0.75, 0.25, 0.0)),
    (datetime(2024, 5, 1, 23, 59), "Sales rise", (0.0, 0.25, 0.75)),
    (datetime(2024, 5, 2, 0, 0), "Bank names chair", (0.25, 0.5, 0.25)),
    (datetime(2024, 5, 2, 8), None, None),
    (datetime(2024, 5, 4, 8), "Oil falls", (0.75, 0.25, 0.0)),
]
SCORED_AT = datetime(2024, 6, 1, 12)


@pytest.fixture
def news(tmp_path, scored_table):
    """The path of NEWS as Parquet."""
    file = tmp_path / "news.scored.parquet"
    scored_table(NEWS).write_parquet(file)
    return str(file)


def ask(name, published, **parameters):
    """Run a query on a published table and return its rows."""
    frame = run_query(
        name, StoreConfig(), parameters=list(parameters.items()), published=str(published)
    )
    return frame.rows()


def columns_declared(text):
    comments = " ".join(ln.removeprefix("--") for ln in text.splitlines() if ln.startswith("--"))
    listed = re.search(r"columns: (.*?)(?: \(|  ?param |$)", " ".join(comments.split()))
    return [c.strip() for c in listed[1].split(",")]


def test_daily_sentiment(news):
    assert ask("daily_sentiment", news) == [
        (date(2024, 5, 1), 2, 0.0, 0.5, 0.0, 0.5),
        (date(2024, 5, 2), 1, 0.0, 0.0, 1.0, 0.0),
        (date(2024, 5, 4), 1, -0.75, 0.0, 0.0, 1.0),
    ]


def test_daily_sentiment_of_some_days(news):
    days = [row[0].day for row in ask("daily_sentiment", news, since="2024-05-02")]
    assert days == [2, 4]
    days = [row[0].day for row in ask("daily_sentiment", news, until="2024-05-02")]
    assert days == [1, 2]
    found = ask("daily_sentiment", news, since="2024-05-02", until="2024-05-03")
    assert [row[0].day for row in found] == [2]


def test_label_mix(news):
    assert ask("label_mix", news) == [
        ("negative", 2, 0.4, 0.75),
        ("neutral", 1, 0.2, 0.5),
        ("positive", 1, 0.2, 0.75),
        (None, 1, 0.2, None),
    ]


def test_labelled(news):
    found = ask("labelled", news)
    assert [(row[0], row[1], row[3:6]) for row in found] == [
        (time, headline, chances or (None, None, None)) for time, headline, chances in NEWS
    ]
    assert [row[2] for row in found] == ["negative", "positive", "neutral", None, "negative"]
    assert [row[6] for row in found] == ["scored", "scored", "scored", "empty", "scored"]
    assert ask("labelled", news, limit="2") == found[:2]


def test_most_negative(news):
    assert ask("most_negative", news) == [
        (NEWS[0][0], "Oil falls", "negative", -0.75),
        (NEWS[4][0], "Oil falls", "negative", -0.75),
        (NEWS[2][0], "Bank names chair", "neutral", 0.0),
        (NEWS[1][0], "Sales rise", "positive", 0.75),
    ]
    assert len(ask("most_negative", news, limit="1")) == 1


def test_most_positive(news):
    assert ask("most_positive", news, limit="2") == [
        (NEWS[1][0], "Sales rise", "positive", 0.75),
        (NEWS[2][0], "Bank names chair", "neutral", 0.0),
    ]


@pytest.fixture
def store_config(tmp_path):
    """A store with three scores, two runs and two quarantined rows."""
    config = StoreConfig(path=tmp_path / "s.duckdb")
    with Store.open(config) as store:
        for number, (headline, chances) in enumerate(
            [("Sure", (0.9, 0.05, 0.05)), ("Torn", (0.4, 0.25, 0.35)), ("Half", (0.25, 0.5, 0.25))]
        ):
            row = dict(zip(("p_negative", "p_neutral", "p_positive"), chances, strict=True))
            row |= {"headline_key": f"{number:032x}", "headline": headline, "truncated": False}
            row |= {"model_fingerprint": "f", "run_id": "one", "scored_at": SCORED_AT}
            store.insert("scores", row)
        for hour, run_id in enumerate(("one", "two")):
            started = SCORED_AT.replace(hour=hour)
            status = {"run_id": run_id, "status": "done", "started_at": started, "input": "a.csv"}
            store.insert("runs", {**status, "model": "m", "rows_read": 3, "seconds": 1.5})
        for line in (7, 3):
            reason = {"reason": "3 fields instead of 2", "content": "a,b,c"}
            where = {"run_id": "one", "input": "a.csv", "line_number": line}
            store.insert("quarantine", {**where, **reason, "recorded_at": SCORED_AT})
    return config


def test_low_confidence(store_config):
    found = run_query("low_confidence", store_config)
    assert [row[:2] for row in found.rows()] == [("Torn", "negative")]
    assert found["confidence"].to_list() == pytest.approx([0.4])
    wider = run_query("low_confidence", store_config, parameters=[("threshold", "0.6")])
    assert wider["headline"].to_list() == ["Torn", "Half"]
    both = [("threshold", "1"), ("limit", "1")]
    assert run_query("low_confidence", store_config, parameters=both).height == 1


def test_run_history(store_config):
    expected = ("done", "a.csv", "m", 3, None, None, None, 1.5, None)
    assert run_query("run_history", store_config).rows() == [
        (SCORED_AT.replace(hour=1), *expected, "two"),
        (SCORED_AT.replace(hour=0), *expected, "one"),
    ]


def test_quarantine(store_config):
    assert run_query("quarantine", store_config).rows() == [
        (SCORED_AT, "a.csv", None, line, "3 fields instead of 2", "a,b,c", "one") for line in (3, 7)
    ]
