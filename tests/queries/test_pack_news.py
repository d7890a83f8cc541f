"""The queries about news over time, by column and by confidence, with every row they must give."""

import random
from datetime import date, datetime, timedelta
from math import log

import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.errors import ParameterError
from finsent_batch.metrics.drift import population_stability_index
from finsent_batch.queries.run import run_query

UP, DOWN, FLAT = (0.0, 0.25, 0.75), (0.75, 0.25, 0.0), (0.125, 0.75, 0.125)


@pytest.fixture
def ask(tmp_path, scored_table):
    """Run a query over rows (time, headline, probabilities) and further columns."""

    def call(name, rows, parameters=(), /, **columns):
        file = tmp_path / "news.parquet"
        times = {"published_at": [row[0] for row in rows]}
        scored_table(rows, **(times | columns)).write_parquet(file)
        pairs = [(key, str(value)) for key, value in dict(parameters).items()]
        return run_query(name, StoreConfig(), parameters=pairs, published=str(file))

    return call


def on(day, said, text="x"):
    """A row of the day of May 2024 (0 is 30 April)."""
    return datetime(2024, 5, 1, 9) + timedelta(days=day - 1), text, said


def test_rolling_sentiment(ask):
    rows = [on(1, UP), on(1, UP), on(1, DOWN), on(8, DOWN), on(9, FLAT), on(31, UP), on(5, None)]
    assert ask("rolling_sentiment", rows).rows() == [
        # day, headlines, mean, index over 7 days, change, over 30 days, change
        (date(2024, 5, 1), 3, 0.25, 0.25, None, 0.25, None),
        (date(2024, 5, 8), 1, -0.75, -0.75, -1.0, 0.0, None),
        (date(2024, 5, 9), 1, 0.0, -0.375, -0.625, 0.0, None),
        (date(2024, 5, 31), 1, 0.75, 0.75, None, 0.0, -0.25),
    ]


def test_rolling_sentiment_looks_back_beyond_the_days_shown(ask):
    rows = [on(1, UP), on(4, DOWN), on(8, FLAT)]
    shown = ask("rolling_sentiment", rows, {"since": "2024-05-04", "until": "2024-05-04"})
    assert shown.rows() == [(date(2024, 5, 4), 1, -0.75, 0.0, None, 0.0, None)]


def test_sentiment_by(ask):
    rows = [on(1, UP), on(1, FLAT), on(2, DOWN), on(2, UP), on(3, None)]
    columns = {"Source": ["wire", "wire", "blog", None, "wire"], "n": [1, 2, 1, 1, 1]}
    assert ask("sentiment_by", rows, {"by_column": "source"}, **columns).rows() == [
        ("wire", 2, 0.375, 0.5, 0.5, 0.0),
        ("blog", 1, -0.75, 0.0, 0.0, 1.0),
        (None, 1, 0.75, 1.0, 0.0, 0.0),
    ]
    narrow = {"by_column": "n", "minimum": 2, "since": "2024-05-01", "until": "2024-05-02"}
    assert ask("sentiment_by", rows, narrow, **columns).rows() == [("1", 3, 0.25, 2 / 3, 0, 1 / 3)]
    assert ask("sentiment_by", rows, {"by_column": "n", "limit": 1}, **columns).height == 1


def test_sentiment_by_a_column_that_is_not_there_shows_the_header(ask):
    for parameters in ({}, {"by_column": "ticker"}):
        with pytest.raises(ParameterError) as caught:
            ask("sentiment_by", [on(1, UP)], parameters)
        assert "param by_column VARCHAR: required, the column to group by" in caught.value.header


def test_most_negative_of_some_days(ask):
    rows = [on(1, DOWN, "a"), on(2, DOWN, "b"), on(3, UP, "c")]
    window = {"since": "2024-05-02", "until": "2024-05-02"}
    for name in ("most_negative", "most_positive"):
        assert ask(name, rows, window)["headline"].to_list() == ["b"]


def test_confidence_histogram(ask):
    sure = (0.0, 0.0, 1.0)
    edge = (0.5, 0.25, 0.25)  # exactly on the edge of a bin: it belongs to the upper one
    rows = [on(1, sure), on(1, edge), on(2, UP), on(2, DOWN), on(2, FLAT), on(2, None)]
    assert ask("confidence_histogram", rows, {"bins": 4}).rows() == [
        (0.0, 0.25, 0, 0.0, 0, 0, 0),
        (0.25, 0.5, 0, 0.0, 0, 0, 0),
        (0.5, 0.75, 1, 0.2, 1, 0, 0),
        (0.75, 1.0, 4, 0.8, 1, 1, 2),
    ]
    found = ask("confidence_histogram", rows)
    assert found.height == 20
    assert found["headlines"].sum() == 5


def test_a_histogram_of_nothing_scored(ask):
    found = ask("confidence_histogram", [on(1, None)], {"bins": 2})
    assert found["headlines"].to_list() == [0, 0]
    assert found["share"].to_list() == [None, None]


def test_drift(ask):
    # Baseline, the four weeks before: 2 up, 2 down. Recent, the last seven days: 3 up, 1 flat.
    baseline = [on(1, UP), on(2, DOWN), on(28, DOWN), on(27, UP)]
    recent = [on(29, UP), on(35, UP), on(31, UP), on(30, FLAT)]
    outside = [on(0, FLAT), on(33, None)]
    found = ask("drift", baseline + recent + outside).rows()
    small = 0.0001

    def term(b, r):
        b, r = max(b, small), max(r, small)
        return pytest.approx((r - b) * log(r / b))

    terms = [term(0.5, 0), term(0, 0.25), term(0.5, 0.75)]
    assert [row[:-1] for row in found[:3]] == [
        ("sentiment", "negative", 2, 0, 0.5, 0.0, terms[0]),
        ("sentiment", "neutral", 0, 1, 0.0, 0.25, terms[1]),
        ("sentiment", "positive", 2, 3, 0.5, 0.75, terms[2]),
    ]
    assert [row[-1] for row in found[:3]] == pytest.approx([sum(r[-2] for r in found[:3])] * 3)
    assert [row[1] for row in found[3:]] == [f"0.{i}-{(i + 1) / 10:.1f}" for i in range(3, 10)]
    assert [row[2:4] for row in found[3:]] == [(0, 0)] * 4 + [(4, 4)] + [(0, 0)] * 2
    assert {row[-1] for row in found[3:]} == {0.0}


def test_the_index_is_the_one_of_reports(ask):
    draw = random.Random(0)
    rows = []
    for day in range(1, 36):
        for _ in range(20):
            sure = draw.choice([0.375, 0.5, 0.625, 0.75, 0.875]) + (0.0625 if day > 28 else 0)
            rest = [sure, (1 - sure) / 2, (1 - sure) / 2]
            draw.shuffle(rest)
            rows.append(on(day, tuple(rest)))
    found = ask("drift", rows)
    for measure in ("sentiment", "confidence"):
        part = found.filter(pl.col("measure") == measure)
        expected = population_stability_index(part["recent"].to_list(), part["baseline"].to_list())
        assert part["total_psi"][0] == pytest.approx(expected, abs=6e-5)


def test_drift_between_named_windows(ask):
    rows = [on(1, UP), on(2, DOWN), on(20, UP), on(21, FLAT)]
    windows = {
        "baseline_since": "2024-05-01", "baseline_until": "2024-05-01",
        "since": "2024-05-20", "until": "2024-05-20",
    }  # fmt: skip
    found = ask("drift", rows, windows)
    assert found["baseline"].sum() == found["recent"].sum() == 2  # one headline, two measures
    assert found["total_psi"].unique().to_list() == [0.0]


def test_drift_without_a_baseline_says_nothing(ask):
    found = ask("drift", [on(1, UP)])
    assert found["recent"].sum() == 2
    assert found["total_psi"].null_count() == found.height == 10


HOSTILE = (
    "day", "headlines", "mean_score", "value", "bin", "bins", "rows", "share", "baseline",
    "recent", "since", "until", "tenth", "label", "confidence", "measure", "news_time", "week",
    "month", "score", "spans", "chosen", "windows",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("daily_sentiment", {}),
        ("rolling_sentiment", {}),
        ("sentiment_by", {"by_column": "source"}),
        ("label_mix", {}),
        ("confidence_histogram", {}),
        ("drift", {}),
        ("labelled", {}),
        ("most_negative", {}),
        ("most_positive", {}),
    ],
)
def test_columns_of_the_user_s_own_change_no_result(ask, name, parameters):
    rows = [on(1, UP, "a"), on(2, DOWN, "b"), on(2, FLAT, "c"), on(9, UP, "d")]
    source = {"source": ["x", "y", "x", "x"]}
    plain = ask(name, rows, parameters, **source)
    odd = {column: ["odd"] * len(rows) for column in HOSTILE}
    assert ask(name, rows, parameters, **source, **odd).equals(plain)
    assert isinstance(plain, pl.DataFrame)
    assert plain.height
