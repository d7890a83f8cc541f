"""The training mixture: the rows of an epoch, their targets and their weights."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..labels import LABELS
from ..train_config import TrainConfig
from .augmentation import opposite_headline
from .duplicates import duplicate_key

# Where annotators disagreed the majority's label is a guess of that quality, and training on it
# as certain teaches noise: its probability is the middle of the range that the file stands for.
_TARGET_BY_AGREEMENT = {0.50: 0.58, 0.66: 0.71, 0.75: 0.88, 1.0: 0.97}


def epoch_rows(train: pl.DataFrame, config: TrainConfig, held_out: set[str]) -> pl.DataFrame:
    """Return the training rows of one epoch with a `weight` each, mean 1 within each folder.

    The first folder, the one the model is meant for, comes `repeat_first` times
    and with the opposites of its headlines, save any that `held_out` has by
    `duplicate_key`; the others add breadth.
    """
    first_name = train["folder"][0]
    rows = train
    if config.opposites:
        first = train.filter(pl.col("folder") == first_name)
        rows = pl.concat([train, _opposites(first, held_out)])
    rows = rows.with_columns(pl.Series("weight", row_weights(rows, config.class_weights)))
    first = rows.filter(pl.col("folder") == first_name)
    return pl.concat([rows, *[first] * (config.repeat_first - 1)])


def _opposites(frame: pl.DataFrame, held_out: set[str]) -> pl.DataFrame:
    known = held_out | {duplicate_key(headline) for headline in frame["headline"]}
    other = {LABELS[0]: LABELS[2], LABELS[2]: LABELS[0]}
    turned: list[dict[str, Any]] = []
    for row in frame.iter_rows(named=True):
        headline = opposite_headline(row["headline"]) if row["label"] in other else None
        if headline is not None and duplicate_key(headline) not in known:
            turned.append({**row, "headline": headline, "label": other[row["label"]]})
    return pl.DataFrame(turned, schema=frame.schema)


def row_weights(frame: pl.DataFrame, how: str) -> npt.NDArray[np.float32]:
    """Return a loss weight a row, shape (n,), float32.

    `balanced` weighs a row by the inverse of its label's share of its folder's
    rows, `sqrt` by the root of that for all folders but the first; the mean is 1
    within each folder.
    """
    if how == "none":
        return np.ones(frame.height, dtype=np.float32)
    share = pl.len().over("folder", "label") / pl.len().over("folder")
    power = 1.0 if how == "balanced" else 0.5
    first = pl.col("folder") == frame["folder"][0]
    raw = frame.with_columns(share.pow(-pl.when(first).then(1.0).otherwise(power)).alias("raw"))
    weights: npt.NDArray[np.float32] = (
        raw.select((pl.col("raw") / pl.col("raw").mean().over("folder")).cast(pl.Float32))
        .to_series()
        .to_numpy()
    )
    return weights


def soft_targets(frame: pl.DataFrame, smoothing: float) -> npt.NDArray[np.float32]:
    """Return the target probabilities of each row, shape (n, 3), float32.

    The label's is `1 - smoothing`, or less where annotators disagreed; the other
    two share the rest.
    """
    agreement = frame["agreement"] if "agreement" in frame.columns else [None] * frame.height
    certain = np.array(
        [1 - smoothing if a is None else _TARGET_BY_AGREEMENT[a] for a in agreement],
        dtype=np.float32,
    )
    targets = np.empty((frame.height, len(LABELS)), dtype=np.float32)
    targets[:] = ((1 - certain) / 2)[:, None]
    rows = np.arange(frame.height)
    targets[rows, [LABELS.index(label) for label in frame["label"]]] = certain
    return targets
