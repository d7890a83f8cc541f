"""Compare two models, or two annotators, on the same rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray
from ..labels import LABELS

_LABELS = len(LABELS)
_ANSWERS = _LABELS + 1  # a label, or none


def agreement(one: IntArray, other: IntArray) -> dict[str, Any]:
    """Return `share` of rows with the same answer, `kappa` and the `table` of both answers.

    `table[i][j]` counts rows that the first calls i and the second j; the last row
    and column count those without an answer. `kappa` is None where chance alone
    would agree always. Source: Cohen 1960.
    """
    table = np.zeros((_ANSWERS, _ANSWERS), dtype=np.int64)
    np.add.at(table, (one % _ANSWERS, other % _ANSWERS), 1)
    total = max(1, len(one))
    share = float(np.trace(table)) / total
    chance = float((table.sum(axis=1) * table.sum(axis=0)).sum()) / total**2
    kappa = (share - chance) / (1 - chance) if chance < 1 else None
    return {"share": share, "kappa": kappa, "table": table.tolist()}


def paired_bootstrap(
    truth: IntArray, one: IntArray, other: IntArray, *, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return the second's `accuracy` and `macro_f1` less the first's, with 95 % intervals.

    Each has `difference`, `low` and `high`, the percentiles 2.5 and 97.5 over
    resamples of the rows. Rows of the same truth and answers are alike, so a resample
    is a multinomial draw of their counts. Source: Efron and Tibshirani 1993.
    """
    shape = (_LABELS, _ANSWERS, _ANSWERS)
    cells = np.ravel_multi_index((truth, one % _ANSWERS, other % _ANSWERS), shape)
    counts = np.bincount(cells, minlength=int(np.prod(shape)))
    draw = np.random.default_rng(seed)
    drawn = draw.multinomial(len(truth), counts / len(truth), size=resamples)
    found = {}
    observed, sampled = (_figures(c.reshape(-1, *shape)) for c in (counts, drawn))
    for name in observed:
        low, high = np.percentile(sampled[name], [2.5, 97.5])
        found[name] = {
            "difference": float(observed[name][0]), "low": float(low), "high": float(high)
        }  # fmt: skip
    return found


def _figures(cells: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float64]]:
    """Return both differences of each table; `cells` has shape (tables, truth, one, other)."""
    accuracy, macro_f1 = [], []
    for axis in (3, 2):
        confusion = cells.sum(axis=axis)[:, :, :_LABELS]
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        support = cells.sum(axis=(2, 3))
        # 2 TP / (actual + called): 0 where a label is neither there nor called.
        f1 = 2 * hits / np.maximum(1, support + confusion.sum(axis=1))
        accuracy.append(hits.sum(axis=1) / support.sum(axis=1))
        macro_f1.append(f1.mean(axis=1))
    return {"accuracy": accuracy[1] - accuracy[0], "macro_f1": macro_f1[1] - macro_f1[0]}


def mcnemar(truth: IntArray, one: IntArray, other: IntArray) -> dict[str, float]:
    """Return McNemar's exact test of two classifiers on the same rows.

    `only_one` and `only_other` count rows that one alone got right; `p_value` is
    two-sided, from the binomial distribution. Source: McNemar 1947; Dietterich 1998.
    """
    from scipy.stats import binomtest

    only_one = int(((one == truth) & (other != truth)).sum())
    only_other = int(((one != truth) & (other == truth)).sum())
    trials = only_one + only_other
    p_value = float(binomtest(only_one, trials).pvalue) if trials else 1.0
    return {"only_one": only_one, "only_other": only_other, "p_value": p_value}
