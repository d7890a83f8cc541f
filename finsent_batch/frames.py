"""Frames of polars, pandas and Arrow: what they hold as Arrow, and results added to them."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import polars as pl
import pyarrow as pa

from .errors import BadDataError, UnavailableError, UsageError, first_line

if TYPE_CHECKING:
    import pandas as pd

Frame = TypeVar("Frame")
"""A frame of polars, pandas or Arrow."""

KINDS: Final = ("polars", "arrow", "pandas")
"""What `query` can return."""


def to_arrow(frame: Any) -> tuple[pa.Table, Callable[[pa.Table, list[str]], Any]]:
    """Return a frame as an Arrow table, and what adds result columns to the frame itself.

    The latter takes the scored table and the names of its result columns; it returns a frame of
    the kind that was given, whose other columns keep their types and whose rows their index.

    Raises:
        TypeError: no frame of polars, pandas or Arrow.
        BadDataError: a column of pandas mixes types, or Arrow has none for one of polars.
    """
    if isinstance(frame, pa.Table):
        return frame, lambda scored, names: scored
    if isinstance(frame, pl.LazyFrame):
        table, added = to_arrow(frame.collect())
        return table, lambda scored, names: added(scored, names).lazy()
    if isinstance(frame, pl.DataFrame):
        table = _as_arrow(frame.to_arrow)
        return table, lambda scored, names: _added_to_polars(frame, scored, names)
    pandas = sys.modules.get("pandas")  # whoever has such a frame has imported it
    if pandas is not None and isinstance(frame, pandas.DataFrame):
        table = _as_arrow(lambda: pa.Table.from_pandas(frame, preserve_index=False))
        return table, lambda scored, names: _added_to_pandas(frame, scored, names)
    raise TypeError(
        "a frame is a DataFrame or LazyFrame of polars, a DataFrame of pandas or a Table of "
        f"pyarrow, not {type(frame).__name__}"
    )


def check_kind(kind: str) -> None:
    """Refuse what `query` cannot return.

    Raises:
        UsageError: another name than those of `KINDS`.
        UnavailableError: pandas is not installed.
    """
    if kind not in KINDS:
        raise UsageError(f"frame is {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {kind!r}")
    if kind == "pandas":
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise UnavailableError(
                "frame='pandas' needs pandas: pip install pandas, or take polars or arrow"
            ) from None


def _added_to_polars(frame: pl.DataFrame, scored: pa.Table, names: list[str]) -> pl.DataFrame:
    results = pl.from_arrow(scored.select(names))
    assert isinstance(results, pl.DataFrame)
    kept = [name for name in frame.columns if name in scored.schema.names and name not in names]
    return frame.select(kept).hstack(results)


def _as_arrow(read: Callable[[], pa.Table]) -> pa.Table:
    try:
        return read()
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise BadDataError(
            f"the frame cannot be read as Arrow ({first_line(error)}): give each column a "
            "name of its own and one type that Arrow has, or leave it out"
        ) from None


def _added_to_pandas(frame: "pd.DataFrame", scored: pa.Table, names: list[str]) -> "pd.DataFrame":
    results = scored.select(names).to_pandas()
    kept = {*scored.schema.names} - {*names}
    whole = frame.loc[:, [str(name) in kept for name in frame.columns]].copy()
    for name in names:
        whole[name] = results[name].array  # by position: an index may repeat itself
    return whole
