"""What a cascade answers by threshold, against the definition row by row."""

import numpy as np

from finsent_batch.metrics.cascade import THRESHOLDS, cascade_figures, choose_threshold
from finsent_batch.metrics.classification import predict


def drawn(rows, seed):
    draw = np.random.default_rng(seed)
    first, second = draw.dirichlet((0.4, 0.4, 0.4), (2, rows)).astype(np.float32)
    first[0] = np.nan
    return draw.integers(0, 3, rows), first, second


def test_the_first_answers_where_it_is_sure_and_agreement_only_grows():
    truth, first, second = drawn(400, 0)
    figures = cascade_figures(truth, first, second)
    assert [f.sure for f in figures] == list(THRESHOLDS)
    for f in figures[::10]:
        sure = [bool(p.max() >= np.float32(f.sure)) for p in first]
        answers = np.where(sure, predict(first), predict(second))
        assert f.first_share == np.mean(sure)
        assert f.agreement == np.mean(answers == predict(second))
        assert f.accuracy == np.mean(answers == truth)
    agreement = [f.agreement for f in figures]
    assert agreement == sorted(agreement)
    assert figures[0].first_share == 399 / 400  # one row without a number


def test_the_lowest_threshold_with_the_agreement_is_chosen():
    _, first, second = drawn(400, 1)
    figures = cascade_figures(predict(second), first, second)
    chosen = choose_threshold(figures, 0.8)
    lower = [f for f in figures if f.sure < chosen.sure]
    assert chosen.agreement >= 0.8
    assert not chosen.worse
    assert all(f.agreement < 0.8 or f.worse for f in lower)
    assert any(f.agreement >= 0.8 for f in lower)  # those are surely less often right


def test_a_small_model_that_is_better_leaves_no_threshold():
    _, first, second = drawn(400, 2)
    truth = predict(first)
    truth[0] = 0
    figures = cascade_figures(truth, first, second)
    assert choose_threshold(figures, 0.97) is None
    assert choose_threshold(figures, 0.01).sure == 0.34
