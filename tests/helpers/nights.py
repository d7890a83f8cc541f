"""Stores with a history, scored once for all tests of a module."""

import contextlib
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

import finsent_batch as fb

Score = Callable[[str], dict[str, Any]]


def score_nights(wordy: Callable[[int], list[str]], folder: Path, model: Path) -> "Kept":
    """Score n0.parquet to n2.parquet, feeds that overlap, with a duplicate and a null in each."""
    with contextlib.chdir(folder):
        summaries = []
        for night in range(3):
            texts = wordy(90)[night * 20 :][:40]
            frame = pl.DataFrame({"headline": [*texts, texts[0], None]})
            times = [datetime(2026, 3, 2 + night) + timedelta(minutes=30 * i) for i in range(42)]
            frame.insert_column(0, pl.Series("published_at", times))
            frame.write_parquet(f"n{night}.parquet")
            summaries.append(scored(f"n{night}.parquet", model))
    return Kept(folder, summaries)


def scored(name: str, model: Path) -> dict[str, Any]:
    """Score a file of the working folder, as the fixture `score` does; gives the summary."""
    settings = fb.ModelConfig(model=str(model), weights="fp32")
    return fb.score(
        fb.ScoreConfig(input=name, store=Path("finsent.duckdb"), model=settings)
    ).to_dict()


class Kept:
    """A folder with a store, as it was, and the summaries of its runs."""

    def __init__(self, folder: Path, summaries: list[dict[str, Any]]) -> None:
        self.folder, self.summaries = folder, summaries

    def copy(self, to: Path) -> list[dict[str, Any]]:
        """Copy all of it; the store goes on to name the outputs that are in the folder."""
        shutil.copytree(self.folder, to, dirs_exist_ok=True)
        return self.summaries
