"""Find headlines that differ only in case, spacing or punctuation, within and across splits."""

import re
from collections.abc import Sequence

import polars as pl

from ..errors import BadDataError
from ..headlines import normalize


def duplicate_key(headline: str) -> str:
    """Return what two headlines, both in normal form, share when one is a copy of the other.

    ASCII letters and digits only, lower-cased: spacing, punctuation and the
    characters that a wrong encoding destroys do not make a new sentence. In other
    scripts, letters and digits of any kind.
    """
    key = re.sub(r"[^a-z0-9]+", "", headline.lower())
    return key if re.search(r"[a-z]", key) else re.sub(r"[\W_]+", "", headline.lower())


def normalized(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with each headline in the normal form that `score` uses."""
    return frame.with_columns(
        pl.Series("headline", normalize(frame["headline"].to_list()), dtype=pl.String)
    )


def check_leakage(splits: Sequence[tuple[str, pl.DataFrame]]) -> None:
    """Refuse splits of which two share a headline.

    Raises:
        BadDataError: naming the splits, how many headlines they share, and the row of one.
    """
    seen: dict[str, str] = {}
    shared: dict[tuple[str, str], list[int]] = {}
    for name, frame in splits:
        for key, row in {duplicate_key(h): i for i, h in enumerate(frame["headline"], 1)}.items():
            other = seen.setdefault(key, name)
            if other != name:
                shared.setdefault((other, name), []).append(row)
    if shared:
        told = ", ".join(
            f"{len(found)} headlines stand in both {one} and {other}"
            for (one, other), found in shared.items()
        )
        (_, name), rows = next(iter(shared.items()))
        raise BadDataError(
            f"{told}: split again with finsent-batch prepare --exclude; "
            f"one is row {rows[0]} of {name}"
        )
