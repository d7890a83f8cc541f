"""Rows, targets and weights of an epoch."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finsent_batch.labelled.duplicates import duplicate_key
from finsent_batch.labelled.mixture import epoch_rows, row_weights, soft_targets
from finsent_batch.train_config import TrainConfig

ROWS = pl.DataFrame(
    {
        "headline": ["Profit rose", "Board met", "Board sat", "Sales fell", "Oil up", "Gas down"],
        "label": ["positive", "neutral", "neutral", "negative", "positive", "negative"],
        "agreement": [1.0, 0.5, None, 0.75, None, None],
        "folder": ["first"] * 4 + ["second"] * 2,
    },
    schema_overrides={"agreement": pl.Float64},
)


def config(**changes: object) -> TrainConfig:
    return TrainConfig(data=(), output=Path("unused"), **changes)  # type: ignore[arg-type]


def test_opposites_come_from_the_first_folder_with_the_other_label() -> None:
    rows = epoch_rows(ROWS, config(repeat_first=1), set())
    added = rows.tail(rows.height - ROWS.height)
    assert added.select("headline", "label", "agreement").rows() == [
        ("Profit fell", "negative", 1.0),
        ("Sales rose", "positive", 0.75),
    ]
    assert set(added["folder"]) == {"first"}


def test_an_opposite_that_is_held_out_is_not_trained_on() -> None:
    rows = epoch_rows(ROWS, config(repeat_first=1), {duplicate_key("PROFIT FELL!")})
    assert "Profit fell" not in set(rows["headline"])
    assert "Sales rose" in set(rows["headline"])


def test_first_folder_is_repeated_and_others_are_not() -> None:
    rows = epoch_rows(ROWS, config(opposites=False, repeat_first=3), set())
    counts = dict(rows.group_by("folder").len().iter_rows())
    assert counts == {"first": 12, "second": 2}


@pytest.mark.parametrize("how", ["none", "sqrt", "balanced"])
def test_weights_have_mean_one_within_each_folder(how: str) -> None:
    weighted = ROWS.with_columns(pl.Series("weight", row_weights(ROWS, how)))
    for mean in weighted.group_by("folder").agg(pl.col("weight").mean())["weight"]:
        assert mean == pytest.approx(1.0)


def test_balanced_weights_are_inverse_to_the_class_share() -> None:
    weights = row_weights(ROWS, "balanced")
    assert weights[0] / weights[1] == pytest.approx(2.0)


def test_targets_follow_annotator_agreement_and_smoothing() -> None:
    targets = soft_targets(ROWS, 0.1)
    assert targets.sum(axis=1) == pytest.approx(np.ones(6))
    assert targets[0] == pytest.approx([0.015, 0.015, 0.97])
    assert targets[1] == pytest.approx([0.21, 0.58, 0.21])
    assert targets[2] == pytest.approx([0.05, 0.9, 0.05])
    assert soft_targets(ROWS.drop("agreement"), 0.0)[3] == pytest.approx([1, 0, 0])
