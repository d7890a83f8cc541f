"""The margin below which fp8's answers are not sure."""

import numpy as np
import pytest

from finsent_batch.scorers.batching import lead
from finsent_batch.scorers.near_tie import NEVER, SMALLEST_LEAD, measured_lead


def test_the_margin_of_fp8_does_not_depend_on_how_sure_the_answers_are():
    """The same shift of logits, among sure answers and unsure ones."""
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(400, 3))
    noise = draw.normal(0, 0.05, logits.shape)
    margins = []
    for sureness in (1, 10):
        full = softmax(logits * sureness)
        fast = softmax(logits * sureness + noise)
        margins.append(measured_lead(fast, full))
        flipped = fast.argmax(1) != full.argmax(1)
        assert (lead(fast)[flipped] < margins[-1]).mean() > 0.9
    assert margins[0] == pytest.approx(margins[1], rel=0.2)
    assert measured_lead(full, full) == SMALLEST_LEAD


@pytest.mark.parametrize("fast", [[[0.98, 0.01, 0.01]], [[np.nan] * 3]])
def test_fp8_that_turns_sure_answers_is_not_taken(fast):
    full = np.float32([[0.1, 0.1, 0.8]])
    assert measured_lead(np.float32(fast), full) == NEVER


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
