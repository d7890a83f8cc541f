"""Histograms of scores and how far apart two of them are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from finsent_batch.metrics.drift import population_stability_index, stability_by_chance
from finsent_batch.metrics.histograms import (
    CONFIDENCE_EDGES,
    SCORE_EDGES,
    add_histograms,
    histogram,
    histograms_of,
)

COUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=14)


@pytest.mark.parametrize("edges", [CONFIDENCE_EDGES, SCORE_EDGES])
def test_a_value_on_an_edge_belongs_to_the_bin_above_and_the_last_to_the_last(edges):
    for place, edge in enumerate(edges):
        counts = histogram(np.array([edge], dtype=np.float32), edges)
        assert counts.index(1) == min(place, len(edges) - 2)


@given(arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(-2, 2, width=32)))
def test_every_finite_value_is_counted_once_as_numpy_counts_it(values):
    # Values a rounding error away from an edge may fall on either side of it.
    values = values[np.abs(values * 10 - np.round(values * 10)) > 1e-2]
    expected, _ = np.histogram(np.clip(values, -1, 1), SCORE_EDGES)
    assert histogram(values, SCORE_EDGES) == expected.tolist()


def test_histograms_of_probabilities_leave_rows_without_any_out():
    rows = np.array([(0.9, 0.1, 0.0), (0.2, 0.2, 0.6), (np.nan,) * 3], dtype=np.float32)
    found = histograms_of(rows)
    assert {k: sum(v) for k, v in found.items()} == {"confidence": 2, "sentiment_score": 2}
    assert found["confidence"][12] == found["confidence"][6] == 1
    assert found["sentiment_score"][1] == found["sentiment_score"][14] == 1
    assert [sum(v) for v in histograms_of(np.empty((0, 3), np.float32)).values()] == [0, 0]


def test_histograms_add_up_bin_by_bin():
    total = {}
    add_histograms(total, {"a": [1, 2]})
    add_histograms(total, {"a": [3, 4], "b": [5]})
    assert total == {"a": [4, 6], "b": [5]}


def test_the_index_computed_by_hand():
    found = population_stability_index([50, 50], [80, 20])
    assert found == pytest.approx(-0.3 * math.log(0.5 / 0.8) + 0.3 * math.log(0.5 / 0.2))


def test_an_empty_bin_counts_as_a_ten_thousandth():
    found = population_stability_index([100, 0], [50, 50])
    assert found == pytest.approx(0.5 * math.log(2) + (0.0001 - 0.5) * math.log(0.0001 / 0.5))


@given(COUNTS, st.integers(1, 50))
def test_the_index_of_the_same_shares_is_zero(counts, times):
    found = population_stability_index(counts, [c * times for c in counts])
    assert found is None if not sum(counts) else found == pytest.approx(0, abs=1e-9)


@given(st.data())
def test_the_index_is_symmetric_and_not_negative(data):
    one = data.draw(COUNTS)
    other = data.draw(st.lists(st.integers(0, 10_000), min_size=len(one), max_size=len(one)))
    there = population_stability_index(one, other)
    back = population_stability_index(other, one)
    if not sum(one) or not sum(other):
        assert there is back is None
    else:
        assert there == pytest.approx(back)
        assert there >= 0


def test_chance_keeps_below_its_bound_about_95_times_of_100():
    draw, shares = np.random.default_rng(0), np.array([0.2, 0.5, 0.3])
    below = 0
    for _ in range(1_000):
        one, other = draw.multinomial(400, shares), draw.multinomial(4_000, shares)
        below += population_stability_index(one, other) < stability_by_chance(one, other)
    assert 0.93 < below / 1_000 < 0.97


@pytest.mark.parametrize(("one", "other"), [([0, 0], [1, 1]), ([1, 1], [0, 0]), ([3, 0], [5, 0])])
def test_there_is_no_chance_without_rows_or_with_a_single_bin(one, other):
    assert stability_by_chance(one, other) is None
