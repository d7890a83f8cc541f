"""What is usual: bands from the nights before."""

import random

import pytest

from finsent_batch.metrics.bands import FEWEST_NIGHTS, SCALES, comparable, share_noise, usual_band
from finsent_batch.metrics.drift import jensen_shannon

# Four weeks of a feed that rests at the weekend.
WEEKS = [
    (day, rows)
    for _ in range(6)
    for day, rows in enumerate([3300, 3500, 3300, 3400, 2200, 270, 400])
]


def test_a_night_of_no_rows_is_never_usual():
    for weekday in range(7):
        band = usual_band(WEEKS, weekday, "count")
        assert band.by_weekday
        assert not band.holds(0)
        assert band.holds(dict(enumerate([3300, 3500, 3300, 3400, 2200, 270, 400]))[weekday])


def test_weekends_do_not_widen_a_monday():
    band = usual_band(WEEKS, 0, "count")
    assert 1000 < band.low < 3300 < band.high < 12_000
    assert not band.holds(33_000)
    assert not band.holds(270)


def test_one_holiday_among_the_nights_moves_a_band_little():
    usual = usual_band(WEEKS, 2, "count")
    with_holiday = usual_band([*WEEKS, (2, 234)], 2, "count")
    assert with_holiday.usual == usual.usual
    assert not with_holiday.holds(234)


def test_too_few_nights_have_no_band():
    assert usual_band([], 0, "count") is None
    nights = [(0, 10.0)] * (FEWEST_NIGHTS - 1)
    assert usual_band(nights, 0, "count") is None
    # Tuesdays are compared with Mondays until there are Tuesdays enough, weekends are not.
    nights = [(0, 10.0)] * FEWEST_NIGHTS
    assert not usual_band(nights, 1, "count").by_weekday
    assert usual_band(nights, 5, "count") is None
    assert comparable([(0, "a"), (5, "b")], 1) == (["a"], False)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_go_there_and_back_and_bands_hold_what_they_are_made_from(scale):
    draw = random.Random(0)
    values = [0.5 + draw.gauss(0, 0.05) for _ in range(30)]
    for value in values:
        assert SCALES[scale].back(SCALES[scale].to(value)) == pytest.approx(value)
    band = usual_band([(0, v) for v in values], 0, scale)
    assert all(band.holds(v) for v in values)
    assert band.low < band.usual < band.high
    one_sided = usual_band([(0, v) for v in values], 0, scale, low=False)
    assert one_sided.low is None
    assert one_sided.holds(0)


def test_a_small_night_may_differ_more():
    shares = [(0, 0.9)] * 10
    wide = usual_band(shares, 0, "share", noise=share_noise(100))
    narrow = usual_band(shares, 0, "share", noise=share_noise(10_000))
    assert wide.low < narrow.low < 0.9
    assert share_noise(0) == 0


def test_jensen_shannon_is_a_symmetric_divergence_in_bits():
    assert jensen_shannon([1, 0], [0, 1]) == pytest.approx(1)
    assert jensen_shannon([2, 6], [20, 60]) == pytest.approx(0)
    assert jensen_shannon([1, 3], [3, 1]) == pytest.approx(jensen_shannon([3, 1], [1, 3]))
    # scipy.spatial.distance.jensenshannon([.25, .75], [.75, .25], base=2) ** 2
    assert jensen_shannon([1, 3], [3, 1]) == pytest.approx(0.18872187554086717)
    assert jensen_shannon([0, 0], [1, 1]) is None
