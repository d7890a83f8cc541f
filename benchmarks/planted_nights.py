"""Nights that nobody wants, made from a real one; `night_gates.py` scores them."""

from datetime import date, timedelta

import numpy as np
import polars as pl

WORDS = ("Umsatz", "Gewinn", "Verlust", "Konzern", "Quartal", "Prognose", "Aktie", "Bank")


def planted(nights: list[tuple[date, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """Return nights that must not be published, made from the last real one that is planned."""
    day, night = nights[-1]
    week_before = next(f for d, f in nights if d == day - timedelta(days=7))
    draw = np.random.default_rng(0)
    german = [
        f"{draw.choice(WORDS)} der {draw.choice(WORDS)} steigt auf {n} Millionen"
        for n in range(night.height)
    ]
    text = pl.col("headline")
    return {
        "empty": night.head(0),
        "no file of the night: header alone, as text": night.head(0).cast(
            {"published_at": pl.String}
        ),
        "wrong column: blank": night.with_columns(pl.lit(" ").alias("headline")),
        "wrong column: the source": night.with_columns(pl.col("source").alias("headline")),
        "wrong column: numbers as text": night.with_columns(
            pl.int_range(pl.len()).add(10**9).cast(pl.String).alias("headline")
        ),
        "wrong column: addresses": night.with_columns(
            ("https://news.example/" + pl.int_range(pl.len()).cast(pl.String)).alias("headline")
        ),
        "another language": night.with_columns(pl.Series("headline", german)),
        "another language for half of the rows": night.with_columns(
            pl.when(pl.int_range(pl.len()) % 2 == 0)
            .then(pl.Series("headline", german))
            .otherwise(text)
            .alias("headline")
        ),
        "ten times the volume": pl.concat(
            [night.with_columns(text + f" ({n})") for n in range(10)]
        ),
        "a tenth of the volume": night.sample(night.height // 10, seed=0),
        "one headline repeated": night.with_columns(text.first().alias("headline")),
        "last week's file again": week_before,
        "last week's headlines, tonight's times": week_before.with_columns(
            pl.col("published_at") + pl.duration(days=7)
        ),
        "sources gone: all but one": night.filter(pl.col("source") == "press_release"),
        "sources gone: press releases": night.filter(pl.col("source") != "press_release"),
        "sources gone: the smallest": night.filter(pl.col("source") != "video"),
        "times a year early": night.with_columns(pl.col("published_at").dt.offset_by("-1y")),
        "times a year late": night.with_columns(pl.col("published_at").dt.offset_by("1y")),
        "times unreadable": night.with_columns(pl.lit("at night").alias("published_at")),
    }
