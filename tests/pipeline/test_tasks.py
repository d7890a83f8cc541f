"""Inputs and outputs are opened by the same code for a run, a dry run and a frame in memory."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import finsent_batch as fb
from finsent_batch.errors import BadDataError, CannotCreateError
from finsent_batch.pipeline.dry_run import dry_run


@pytest.fixture
def folder(tmp_path: Path, headlines: pl.DataFrame) -> Path:
    """A feed whose day stands in the name of its folder alone."""
    day = tmp_path / "feed" / "day=2024-01-02"
    day.mkdir(parents=True)
    headlines.write_parquet(day / "a.parquet")
    return tmp_path / "feed"


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> Any:
    def make(given: Path, **settings: Any) -> fb.ScoreConfig:
        return fb.ScoreConfig(
            input=str(given),
            output=tmp_path / "out",
            model=fb.ModelConfig(model=str(tiny_model), weights="fp32"),
            store=fb.StoreConfig(path=tmp_path / "s.duckdb"),
            **settings,
        )

    return make


def test_a_dry_run_knows_the_columns_that_folders_name(folder: Path, config: Any) -> None:
    settings = config(folder, date_column="day")
    assert dry_run(settings).to_score == 8
    assert fb.score(settings).rows["unique_scored"] == 8


@pytest.mark.parametrize("setting", ["text_column", "date_column"])
def test_a_dry_run_refuses_what_a_run_refuses(folder: Path, config: Any, setting: str) -> None:
    for call in (fb.score, dry_run):
        with pytest.raises(BadDataError, match="absent"):
            call(config(folder, **{setting: "absent"}))


def test_neither_replaces_what_is_not_its_own(
    folder: Path, config: Any, tmp_path: Path, headlines: pl.DataFrame
) -> None:
    target = tmp_path / "out" / "day=2024-01-02" / "a.scored.parquet"
    target.parent.mkdir(parents=True)
    headlines.write_parquet(target)
    for call in (fb.score, dry_run):
        with pytest.raises(CannotCreateError, match="not an output of this input"):
            call(config(folder))


def test_a_frame_with_a_result_column_is_refused_as_a_file_is(
    headlines: pl.DataFrame, folder: Path, config: Any, tiny_model: Path
) -> None:
    scored = headlines.with_columns(sentiment=pl.lit("neutral"))
    scored.write_parquet(next(folder.rglob("*.parquet")))
    with pytest.raises(BadDataError, match=r"the frame .*sentiment"):
        fb.score_frame(scored, model=str(tiny_model))
    for call in (fb.score, dry_run):
        with pytest.raises(BadDataError, match="sentiment"):
            call(config(folder))
