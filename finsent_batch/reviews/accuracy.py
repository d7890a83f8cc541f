"""What reviews show: the true accuracy of models, how far reviewers agree, and the mistakes."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import polars as pl

from ..config import StoreConfig
from ..io.sql import read_sql
from ..labels import LABELS
from ..metrics.paired import agreement
from ..metrics.proportions import weighted_share
from ..queries.run import to_polars
from ..store.store import Store

ALL_MONTHS: Final = "all"
_UNDATED: Final = "undated"


@dataclass(frozen=True, kw_only=True)
class ReviewedAccuracy:
    """How often a model is right by its reviewers, on the news of a month."""

    model: str | None
    month: str
    """Such as `2014-01`, `undated`, or `ALL_MONTHS`."""
    headlines: int
    """How many were reviewed."""
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    estimated_accuracy: float | None
    """What the probabilities said of that month's nights, by their rows."""
    model_fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """All that is known from reviews; each list is of rows for a table."""

    accuracy: list[ReviewedAccuracy]
    agreement: list[dict[str, Any]]
    """Of each two reviewers: one, other, headlines, share, kappa."""
    wrong: list[dict[str, Any]]
    """headline, sentiment, reviewers, confidence, month, source, model, model_fingerprint."""


def reviewed(config: StoreConfig) -> Reviewed:
    """Return what the reviews in a store show.

    Raises:
        MissingInputError, TryAgainError: see `Store.open`.
    """
    with Store.open(config, read_only=True) as store:
        answers = _answers(store)
        return Reviewed(
            accuracy=_accuracy(answers, _estimates(store)),
            agreement=_agreement(answers),
            wrong=_wrong(answers),
        )


def accuracy_in(store: Store, model_fingerprint: str, month: str) -> ReviewedAccuracy | None:
    """Return a model's accuracy in a month by its reviews, or in all where none is of it."""
    found = {share.month: share for share in accuracies_of(store, model_fingerprint)}
    return found.get(month) or found.get(ALL_MONTHS) or next(iter(found.values()), None)


def accuracies_of(store: Store, model_fingerprint: str) -> list[ReviewedAccuracy]:
    """Return a model's accuracy by its reviews, month by month, and in all where there are more."""
    answers = _answers(store).filter(pl.col("model_fingerprint") == model_fingerprint)
    return _accuracy(answers, {})


def _answers(store: Store) -> pl.DataFrame:
    """Return the rows of the query `reviews`."""
    answers = store.connection.sql(
        f"""SELECT * REPLACE (
            CAST(headline_key AS VARCHAR) AS headline_key,
            CAST(is_right AS DOUBLE) AS is_right,
            coalesce(strftime(month, '%Y-%m'), '{_UNDATED}') AS month)
        FROM ({read_sql("reviews")})"""
    )
    return to_polars(answers.to_arrow_table())


def _accuracy(
    answers: pl.DataFrame, estimates: dict[tuple[str, str], float]
) -> list[ReviewedAccuracy]:
    """Estimate each model's accuracy, a headline once: see `weighted_share`.

    A headline that reviewers disagree on is right by the share of them who say so. What
    nobody answered is taken for alike to the answered of its sample. A sample counts by the
    number of its answers, whatever it stands for.
    """
    months = answers["month"].n_unique()
    every = answers.with_columns(month=pl.lit(ALL_MONTHS)) if months > 1 else answers.clear()
    of = ["model_fingerprint", "month"]
    rows = (
        pl.concat([answers, every])
        .group_by(*of, "sample_id", "headline_key")
        .agg(pl.col("is_right").mean(), pl.col("weight").first(), pl.col("model").first())
        .with_columns(pl.col("weight") / pl.col("weight").mean().over(*of, "sample_id"))
        .group_by(*of, "headline_key")
        .agg(pl.col("is_right").first(), pl.col("weight").sum(), pl.col("model").first())
        .sort("headline_key")
    )
    found = []
    for (fingerprint, month), part in rows.group_by(*of):
        share = weighted_share(part["is_right"].to_numpy(), part["weight"].to_numpy())
        found.append(
            ReviewedAccuracy(
                model=part["model"][0],
                month=str(month),
                headlines=part.height,
                accuracy=share.share,
                accuracy_low=share.low,
                accuracy_high=share.high,
                estimated_accuracy=estimates.get((str(fingerprint), str(month))),
                model_fingerprint=str(fingerprint),
            )
        )
    return sorted(found, key=lambda s: (s.model or "", s.model_fingerprint, s.month))


def _estimates(store: Store) -> dict[tuple[str, str], float]:
    """Return the estimated accuracy of each model's nights, by month and in all."""
    rows = store.query(
        f"""WITH judged AS (
            SELECT model_fingerprint, strftime(night, '%Y-%m') AS month,
                CAST(figures->>'rows' AS DOUBLE) AS rows,
                CAST(figures->>'estimated_accuracy' AS DOUBLE) AS estimate
            FROM nights WHERE status = 'published'
            QUALIFY row_number() OVER (PARTITION BY night, feed ORDER BY recorded_at DESC) = 1)
        SELECT model_fingerprint, coalesce(month, '{ALL_MONTHS}'),
            sum(rows * estimate) / sum(rows) FILTER (estimate IS NOT NULL)
        FROM judged GROUP BY GROUPING SETS ((model_fingerprint, month), (model_fingerprint))"""
    )
    return {(fingerprint, month): value for fingerprint, month, value in rows if value is not None}


def _agreement(answers: pl.DataFrame) -> list[dict[str, Any]]:
    said = answers.select("headline_key", "reviewer", "label").unique()
    found = []
    for one, other in combinations(sorted(said["reviewer"].unique()), 2):
        both = said.filter(pl.col("reviewer") == one).join(
            said.filter(pl.col("reviewer") == other), on="headline_key"
        )
        if both.height:
            labels = (_indices(both[name]) for name in ("label", "label_right"))
            alike = agreement(*labels)
            found.append(
                {"one": one, "other": other, "headlines": both.height}
                | {name: alike[name] for name in ("share", "kappa")}
            )
    return found


def _indices(labels: pl.Series) -> Any:
    return np.array([LABELS.index(label) for label in labels], dtype=np.int64)


def _wrong(answers: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the headlines that a reviewer labels otherwise, the model's surest mistakes first."""
    said = pl.col("reviewer") + ": " + pl.col("label")
    first = ("headline", "sentiment", "confidence", "month", "source", "model")
    return (
        answers.unique(["model_fingerprint", "headline_key", "reviewer"], keep="first")
        .sort("reviewer")
        .group_by("model_fingerprint", "headline_key")
        .agg(pl.col(first).first(), reviewers=said.str.join("; "), right=pl.col("is_right").min())
        .filter(pl.col("right") == 0)
        .sort("confidence", "headline", descending=[True, False])
        .drop("right", "headline_key")
        .to_dicts()
    )
