"""A store with a history: three runs over feeds that overlap."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl


def score_nights(
    score: Callable[..., dict[str, Any]], wordy: Callable[[int], list[str]], folder: Path
) -> list[dict[str, Any]]:
    """Score n0.parquet to n2.parquet, a duplicate and a null in each; gives the summaries."""
    summaries = []
    for night in range(3):
        texts = wordy(90)[night * 20 :][:40]
        frame = pl.DataFrame({"headline": [*texts, texts[0], None]})
        times = [datetime(2026, 3, 2 + night) + timedelta(minutes=30 * i) for i in range(42)]
        frame.insert_column(0, pl.Series("published_at", times))
        frame.write_parquet(folder / f"n{night}.parquet")
        summaries.append(score(f"n{night}.parquet"))
    return summaries
