"""Agreement, kappa and the paired bootstrap, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

from finsent_batch.metrics.classification import MISSING
from finsent_batch.metrics.paired import agreement, paired_bootstrap

answers = st.integers(MISSING, 2)
rows = st.lists(st.tuples(st.integers(0, 2), answers, answers), min_size=1, max_size=40)


def columns(found):
    return [np.array(column, dtype=np.int64) for column in zip(*found, strict=True)]


def test_agreement_by_hand():
    one, other = np.array([0, 0, 1, 2, MISSING]), np.array([0, 1, 1, 2, 2])
    found = agreement(one, other)
    assert found["share"] == 0.6
    assert found["table"] == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    chance = (2 * 1 + 1 * 2 + 1 * 2) / 25
    assert found["kappa"] == pytest.approx((0.6 - chance) / (1 - chance))


def test_models_that_only_ever_say_one_label_have_no_kappa():
    same = np.array([1, 1, 1])
    assert agreement(same, same) == {
        "share": 1.0,
        "kappa": None,
        "table": [[0] * 4, [0, 3, 0, 0], [0] * 4, [0] * 4],
    }


@given(rows)
def test_agreement_is_scikit_learn_s(found):
    _, one, other = columns(found)
    result = agreement(one, other)
    assert result["share"] == pytest.approx(float((one == other).mean()))
    assert np.sum(result["table"]) == len(one)
    if result["kappa"] is not None:
        assert result["kappa"] == pytest.approx(cohen_kappa_score(one, other), abs=1e-9)


@given(rows)
def test_differences_are_scikit_learn_s(found):
    truth, one, other = columns(found)
    result = paired_bootstrap(truth, one, other, resamples=10, seed=0)
    accuracy = accuracy_score(truth, other) - accuracy_score(truth, one)
    f1 = [
        f1_score(truth, answer, labels=[0, 1, 2], average="macro", zero_division=0)
        for answer in (one, other)
    ]
    assert result["accuracy"]["difference"] == pytest.approx(accuracy)
    assert result["macro_f1"]["difference"] == pytest.approx(f1[1] - f1[0])


def test_intervals_are_those_of_resampled_rows():
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 3, 300)
    one = np.where(draw.random(300) < 0.7, truth, draw.integers(0, 3, 300))
    other = np.where(draw.random(300) < 0.8, truth, draw.integers(0, 3, 300))
    found = paired_bootstrap(truth, one, other, resamples=4000, seed=0)["accuracy"]
    rows = draw.integers(0, 300, (4000, 300))
    resampled = ((other == truth)[rows].mean(axis=1)) - ((one == truth)[rows].mean(axis=1))
    low, high = np.percentile(resampled, [2.5, 97.5])
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=0.01)
    assert found["low"] < found["difference"] < found["high"]


def test_equal_models_differ_by_nothing_and_the_seed_decides_the_rest():
    truth = np.array([0, 1, 2, 2])
    same = paired_bootstrap(truth, truth, truth, resamples=50, seed=0)
    assert same["accuracy"] == {"difference": 0.0, "low": 0.0, "high": 0.0}
    other = np.array([0, 1, 1, 2])
    one, two = (paired_bootstrap(truth, truth, other, resamples=50, seed=3) for _ in range(2))
    assert one == two
