"""What tests of models share."""

import polars as pl
import pytest

from finsent_batch.labels import LABELS

from ..helpers.references import HEADLINES


@pytest.fixture
def labelled(tmp_path):
    rows = {"headline": HEADLINES * 2, "label": (list(LABELS) * 4)[: 2 * len(HEADLINES)]}
    pl.DataFrame(rows).write_csv(tmp_path / "labelled.csv")
    return "labelled.csv"
