"""Figures against values computed by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from finsent_batch.metrics.classification import (
    MISSING,
    evaluate_predictions,
    expected_calibration_error,
    fit_temperature,
    notes_on,
    predict,
)
from finsent_batch.metrics.paired import mcnemar

NAN = (math.nan,) * 3


def probabilities(*rows):
    return np.array(rows, dtype=np.float32).reshape(len(rows), 3)


def sure(*labels):
    """Probability 0.8 for each given label, 0.1 for the others; MISSING gives NaN."""
    rows = [
        NAN if label == MISSING else [0.8 if i == label else 0.1 for i in range(3)]
        for label in labels
    ]
    return probabilities(*rows)


def truths(*labels):
    return np.array(labels, dtype=np.int64)


def test_classes_without_rows_are_noted():
    assert notes_on(np.array([0, 1, 2, 2])) == []
    assert notes_on(np.array([1, 1])) == [
        "no row is labelled negative or positive: macro F1 counts each class without rows as 0"
    ]


def test_predict_takes_the_most_probable_label():
    found = predict(probabilities((0.7, 0.2, 0.1), (0.1, 0.6, 0.3), (0.2, 0.2, 0.6)))
    assert found.tolist() == [0, 1, 2]
    assert found.dtype == np.int64


def test_predict_gives_ties_to_the_first_label():
    found = predict(probabilities((0.4, 0.4, 0.2), (0.2, 0.4, 0.4), (1 / 3, 1 / 3, 1 / 3)))
    assert found.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "row", [NAN, (math.nan, 0.5, 0.5), (0.5, math.inf, 0.1), (0.1, 0.2, -math.inf)]
)
def test_predict_calls_rows_without_finite_numbers_missing(row):
    assert predict(probabilities(row, (0.1, 0.8, 0.1))).tolist() == [MISSING, 1]


def test_figures_computed_by_hand():
    # truth:   neg neg neu neu pos pos; two errors: a neg called neu, a pos called neg.
    found = evaluate_predictions(truths(0, 0, 1, 1, 2, 2), sure(0, 1, 1, 1, 2, 0))
    assert found["n"] == 6
    assert found["labels"] == ["negative", "neutral", "positive"]
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["confusion"] == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0]]
    assert found["missing"] == 0
    negative, neutral, positive = found["per_class"].values()
    assert negative == pytest.approx(
        {"accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    )
    assert neutral == pytest.approx(
        {"accuracy": 1.0, "precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2}
    )
    assert positive == pytest.approx(
        {"accuracy": 0.5, "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2}
    )
    assert found["macro_f1"] == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    assert found["weighted_f1"] == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    assert found["ece"] == pytest.approx(abs(4 / 6 - 0.8))


def test_missing_predictions_count_as_wrong_and_never_as_neutral():
    found = evaluate_predictions(truths(1, 1, 1, 0), sure(1, MISSING, MISSING, MISSING))
    assert found["accuracy"] == pytest.approx(1 / 4)
    assert found["missing"] == 3
    assert found["confusion"] == [[0, 0, 0, 1], [0, 1, 0, 2], [0, 0, 0, 0]]
    assert found["per_class"]["neutral"]["recall"] == pytest.approx(1 / 3)
    assert found["per_class"]["neutral"]["precision"] == 1.0
    assert found["per_class"]["neutral"]["support"] == 3


def test_no_prediction_at_all_is_an_accuracy_of_zero():
    found = evaluate_predictions(truths(0, 1, 2), probabilities(NAN, NAN, NAN))
    assert found["accuracy"] == 0
    assert found["macro_f1"] == 0
    assert found["ece"] == 0
    assert found["confusion"] == [[0, 0, 0, 1]] * 3


def test_a_class_absent_from_the_truth_has_figures_of_zero():
    found = evaluate_predictions(truths(0, 0), sure(0, 2))
    assert found["per_class"]["neutral"] == {
        "accuracy": 0.0, "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0,
    }  # fmt: skip
    assert len(found["confusion"]) == 3


def test_no_rows_give_zeros_rather_than_an_error():
    found = evaluate_predictions(truths(), np.empty((0, 3), np.float32))
    assert (found["n"], found["accuracy"], found["macro_f1"], found["ece"]) == (0, 0, 0, 0)
    assert found["confusion"] == [[0, 0, 0, 0]] * 3


rows_of_labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@given(rows_of_labels)
def test_agrees_with_scikit_learn(rows):
    truth = truths(*(t for t, _ in rows))
    said = np.array([p for _, p in rows])
    found = evaluate_predictions(truth, sure(*said))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, said))
    for average in ("macro", "weighted"):
        expected = reference.f1_score(
            truth, said, labels=[0, 1, 2], average=average, zero_division=0
        )
        assert found[f"{average}_f1"] == pytest.approx(expected)
    matrix = reference.confusion_matrix(truth, said, labels=[0, 1, 2])
    assert [row[:3] for row in found["confusion"]] == matrix.tolist()
    expected = reference.recall_score(truth, said, labels=[0, 1, 2], average=None, zero_division=0)
    assert [c["recall"] for c in found["per_class"].values()] == pytest.approx(expected)


@given(rows_of_labels, st.sets(st.integers(0, 59)))
def test_a_missing_prediction_never_raises_a_figure_of_a_true_class(rows, gone):
    truth = truths(*(t for t, _ in rows))
    said = [MISSING if i in gone else p for i, (_, p) in enumerate(rows)]
    found = evaluate_predictions(truth, sure(*said))
    full = evaluate_predictions(truth, sure(*(p for _, p in rows)))
    assert found["accuracy"] <= full["accuracy"]
    assert sum(map(sum, found["confusion"])) == len(rows)
    for label, figures in found["per_class"].items():
        assert figures["recall"] <= full["per_class"][label]["recall"]
        assert figures["support"] == full["per_class"][label]["support"]


def test_calibration_error_of_two_bins_made_by_hand():
    # Confidence 0.9 right three times of four, confidence 0.6 right once of two.
    rows = [(0.9, 0.05, 0.05)] * 4 + [(0.6, 0.2, 0.2)] * 2
    truth = truths(0, 0, 0, 1, 0, 2)
    values = probabilities(*rows)
    found = expected_calibration_error(truth, predict(values), values, bins=10)
    assert found == pytest.approx(4 / 6 * abs(0.75 - 0.9) + 2 / 6 * abs(0.5 - 0.6), abs=1e-6)


def test_calibration_bins_are_closed_at_their_upper_end():
    # With two bins, 0.5 belongs to (0, 0.5] and 0.75 to (0.5, 1]: the gaps do not cancel.
    values = probabilities((0.5, 0.25, 0.25), (0.75, 0.25, 0.0))
    found = expected_calibration_error(truths(0, 1), predict(values), values, bins=2)
    assert found == pytest.approx(0.5 * 0.5 + 0.5 * 0.75)


def test_calibration_error_of_a_certain_and_right_model_is_zero():
    values = probabilities((1, 0, 0), (0, 0, 1))
    assert expected_calibration_error(truths(0, 2), predict(values), values) == 0


def test_calibration_error_leaves_missing_predictions_out():
    values = probabilities((0.8, 0.1, 0.1), NAN)
    found = expected_calibration_error(truths(0, 0), predict(values), values)
    assert found == pytest.approx(0.2)


def pair_of(only_one, only_other, both=7, neither=5):
    """Two classifiers on made rows of truth 1, right as often as the counts say."""
    one = [1] * only_one + [0] * only_other + [1] * both + [2] * neither
    other = [0] * only_one + [1] * only_other + [1] * both + [2] * neither
    return truths(*[1] * len(one)), truths(*one), truths(*other)


def test_mcnemar_is_the_exact_binomial_test():
    # Two-sided: 2 * (1 + 10 + 45) / 2**10.
    found = mcnemar(*pair_of(2, 8))
    assert found == {"only_one": 2, "only_other": 8, "p_value": pytest.approx(112 / 1024)}


def test_mcnemar_of_agresti_s_example():
    # Approval ratings, Agresti, Categorical Data Analysis: 150 and 86 discordant pairs.
    found = mcnemar(*pair_of(150, 86))
    half = sum(math.comb(236, k) for k in range(87))
    assert found["p_value"] == pytest.approx(2 * half / 2**236)
    assert found["p_value"] == pytest.approx(3.7e-5, rel=0.03)


def test_mcnemar_is_symmetric_and_one_where_nothing_differs():
    truth, one, other = pair_of(3, 9)
    assert mcnemar(truth, one, other)["p_value"] == mcnemar(truth, other, one)["p_value"]
    assert mcnemar(truth, one, one) == {"only_one": 0, "only_other": 0, "p_value": 1.0}


def test_mcnemar_counts_a_missing_prediction_as_wrong():
    found = mcnemar(truths(1, 1), truths(1, 1), truths(MISSING, 1))
    assert (found["only_one"], found["only_other"]) == (1, 0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_fit_temperature_recovers_a_known_one(temperature):
    random = np.random.default_rng(3)
    calibrated = random.normal(scale=2, size=(20_000, 3))
    odds = np.exp(calibrated)
    shares = odds / odds.sum(axis=1, keepdims=True)
    truth = (random.random((len(shares), 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(max=2)
    found = fit_temperature(calibrated * temperature, truth.astype(np.int64))
    assert found == pytest.approx(temperature, rel=0.05)


def test_fit_temperature_stays_within_its_bounds():
    always_right = np.eye(3)[[0, 1, 2] * 10] * 5
    truth = truths(*[0, 1, 2] * 10)
    assert 0.049 < fit_temperature(always_right, truth) < 0.2
    assert 10 < fit_temperature(always_right, (truth + 1) % 3) < 20.1
