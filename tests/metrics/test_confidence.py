"""Accuracy estimated from probabilities."""

import duckdb
import numpy as np
import polars as pl
import pytest

from finsent_batch.metrics.confidence import SPREAD, ConfidenceFit, reach_of


def drawn(rows, temperature, seed=0):
    """Draw calibrated probabilities with labels, then make them too sure, or not sure enough."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet((0.6, 0.6, 0.6), rows)
    truth = (p.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    p = p ** (1 / temperature)
    return p / p.sum(axis=1, keepdims=True), truth


def test_without_labelled_rows_the_probability_itself_is_taken():
    p, _ = drawn(100, 1.0)
    assert ConfidenceFit().right(p) == pytest.approx(p.max(axis=1), abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_fit_estimates_the_accuracy_of_rows_that_it_has_not_seen(temperature):
    fit = ConfidenceFit.fitted(*drawn(4000, temperature))
    assert fit.rows == 4000
    p, truth = drawn(20_000, temperature, seed=1)
    right = p.argmax(axis=1) == truth
    assert fit.right(p).mean() == pytest.approx(right.mean(), abs=0.015)
    if temperature != 1:
        assert abs(p.max(axis=1).mean() - right.mean()) > 0.05


def test_sql_says_the_same():
    p, truth = drawn(500, 2.0)
    p[0], p[1] = (1, 0, 0), (1 / 3, 1 / 3, 1 / 3)
    p = p.astype(np.float32)
    fit = ConfidenceFit.fitted(p, truth)
    rows = pl.DataFrame(p, schema=["p_negative", "p_neutral", "p_positive"])
    assert rows.height == 500
    found = duckdb.sql(f"SELECT {fit.right_sql()} FROM rows").fetchnumpy()
    (values,) = found.values()
    assert values == pytest.approx(fit.right(p), abs=1e-4)


def test_a_manifest_without_a_whole_fit_has_none():
    fit = ConfidenceFit(intercept=-0.5, logit=0.5, margin=0.25, rows=10)
    held = {"intercept": -0.5, "logit": 0.5, "margin": 0.25, "rows": 10}
    assert ConfidenceFit.from_manifest({"confidence_fit": held}) == fit
    for broken in (None, 3, {}, held | {"logit": "1"}):
        assert ConfidenceFit.from_manifest({"confidence_fit": broken}) == ConfidenceFit()


def test_however_many_rows_a_feed_may_be_unlike_those_before():
    assert reach_of(0.0, 10**9) == pytest.approx(1.96 * SPREAD)
    assert reach_of(25.0, 100) == pytest.approx(1.96 * (0.05**2 + SPREAD**2) ** 0.5)
