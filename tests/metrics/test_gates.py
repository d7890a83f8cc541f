"""Gates: their grammar, and what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finsent_batch.errors import UsageError
from finsent_batch.metrics.gates import (
    NO_REGRESSION,
    check_gate,
    failures,
    metric_value,
    parse_gate,
)

METRICS = {"psi": 0.25, "none": None, "per_class": {"neutral": {"recall": 0.5}}, "labels": ["a"]}


@given(
    st.sampled_from(["psi", "per_class.neutral.recall"]),
    st.sampled_from([">=", "<=", ">", "<"]),
    st.floats(-1e6, 1e6),
    st.sampled_from(["", " ", "  "]),
)
def test_what_is_written_is_what_is_parsed(metric, comparison, bound, space):
    gate = parse_gate(f"{space}{metric}{space}{comparison}{space}{bound!r}{space}", "psi")
    assert (gate.metric, gate.comparison, gate.bound) == (metric, comparison, bound)


@pytest.mark.parametrize(
    "text",
    ["", "psi", "psi=0.2", "psi==0.2", "psi<", "<0.2", "psi<0.2.1", "psi<.", "psi<20%",
     "psi<0.2 and x>1", "psi about 1", "psi<nan", "0.1<psi", NO_REGRESSION],
)  # fmt: skip
def test_what_does_not_parse_gives_the_grammar(text):
    with pytest.raises(UsageError) as error:
        parse_gate(text, "psi, rows")
    assert str(error.value) == (
        f"--gate {text!r}: write METRIC COMPARISON NUMBER; COMPARISON is >=, <=, > or <; "
        "METRIC is one of psi, rows"
    )


def test_no_regression_is_a_gate_where_there_is_another_model():
    gate = parse_gate(f" {NO_REGRESSION} ", "accuracy", no_regression=True)
    assert str(gate) == NO_REGRESSION
    with pytest.raises(UsageError, match="accuracy; or no-regression"):
        parse_gate("x", "accuracy", no_regression=True)


@pytest.mark.parametrize(
    ("text", "holds"),
    [("psi<0.2", False), ("psi<=0.25", True), ("psi>0.25", False), ("psi>=.25", True),
     ("psi>-1", True), ("psi<1e3", True), ("per_class.neutral.recall>=0.5", True)],
)  # fmt: skip
def test_a_gate_holds_or_not(text, holds):
    assert check_gate(parse_gate(text, ""), METRICS).holds is holds


def test_what_failed_is_said_on_one_line():
    results = [check_gate(parse_gate(t, ""), METRICS) for t in ("psi<0.2", "psi<0.3", "psi<=0.1")]
    assert failures(results) == "psi is 0.25, not < 0.2; psi is 0.25, not <= 0.1"
    assert failures(results[1:2]) == ""


def test_a_figure_without_a_value_is_not_judged():
    result = check_gate(parse_gate("none<1", ""), METRICS)
    assert (result.holds, result.value) == (None, None)
    assert result.reason == "none has no value: none<1 was not checked"
    assert failures([result]) == ""


@pytest.mark.parametrize("name", ["rows", "per_class.sad.recall", "psi.x", "labels", "per_class"])
def test_an_unknown_figure_lists_those_there_are(name):
    with pytest.raises(UsageError, match=r"there are: psi, none, per_class\.neutral\.recall$"):
        metric_value(name, METRICS)
