"""The Python API."""

from pathlib import Path

import polars as pl
import pytest

import finsent_batch as fb
from finsent_batch.errors import BadDataError
from finsent_batch.io.result_columns import RESULT_SCHEMA


def test_a_frame_comes_back_whole_with_the_result_columns(
    headlines: pl.DataFrame, tiny_model: Path
) -> None:
    scored = fb.score_frame(headlines, model=str(tiny_model))
    assert scored.columns == [*headlines.columns, *RESULT_SCHEMA.names]
    assert scored.select(headlines.columns).equals(headlines)
    assert scored["score_status"].to_list().count("empty") == 2
    sums = scored.select(pl.sum_horizontal("p_negative", "p_neutral", "p_positive")).to_series()
    assert sums.filter(scored["score_status"] == "scored").to_list() == pytest.approx([1.0] * 10)


def test_scores_are_kept_in_a_named_store(
    headlines: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "kept.duckdb"
    one = fb.score_frame(headlines, model=str(tiny_model), store=store)
    again = fb.score_frame(headlines.reverse(), model=str(tiny_model), store=store)
    assert again["run_id"].drop_nulls().unique().equals(one["run_id"].drop_nulls().unique())
    assert fb.query("run_history", store=store, limit=1)["unique_scored"].to_list() == [0]


def test_a_frame_without_a_headline_column_is_refused(tiny_model: Path) -> None:
    with pytest.raises(BadDataError, match="has none of the columns headline"):
        fb.score_frame(pl.DataFrame({"x": ["a"]}), model=str(tiny_model))


def test_an_unknown_name_is_no_part_of_the_package() -> None:
    with pytest.raises(AttributeError):
        fb.nothing  # noqa: B018
