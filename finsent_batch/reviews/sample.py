"""Draw headlines for people to label, so that their answers tell the accuracy of all.

The sample is systematic, with probabilities in proportion to what a row is expected to tell:
the standard deviation of "its label is right", sqrt(c (1 - c)) at confidence c. The rows are
taken in the order of month, source, label and confidence, so that each of these strata has the
share of the sample that is its due, but for one row. Source: Cochran 1977, "Sampling
Techniques", chapters 5.5 and 9A.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..errors import MissingInputError, UsageError
from ..headlines import key_sql, normalize_sql
from ..io.columns import SOURCE_COLUMNS, usual_columns
from ..io.sql import quote_identifier, quote_literal, read_sql
from ..queries.days import days_between
from ..queries.runs import find_run
from ..queries.session import view_published
from ..store.connection import STORE_CATALOG
from ..store.counted import latest_publications
from ..store.publications import publications_of, records
from ..store.store import Store
from .config import ReviewExportConfig

_UNITS: Final = 10**12
"""Probabilities are whole numbers of so many, whose sums do not depend on their order."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Headlines drawn from those that were published."""

    id: str
    """The same for the same headlines with the same weights."""
    population: int
    """How many headlines it was drawn from."""
    rows: list[dict[str, Any]]
    """headline_key, headline, model_fingerprint, sentiment, confidence, source, month, weight;
    shuffled."""


def draw_sample(store: Store, config: ReviewExportConfig) -> Sample:
    """Draw from what is published; the same seed draws the same from the same.

    Raises:
        UsageError: an unknown run, model or day.
        MissingInputError: there is nothing to draw from.
        BadDataError: an output cannot be read.
    """
    population = _find_population(store, config)
    if not population:
        raise MissingInputError(
            "there is no labelled headline to review: score something first, or choose another "
            "--run, --model, --since or --until"
        )
    start = random.Random(config.seed).randint(1, _UNITS)
    drawn = [_scale(store, config.rows), start, str(config.seed)]
    rows = records(store, read_sql("review/draw"), drawn)
    digest = hashlib.sha256()
    for row in rows:
        digest.update(
            f"{row['headline_key']} {row['model_fingerprint']} {row['weight']}\n".encode()
        )
    return Sample(id=digest.hexdigest()[:32], population=population, rows=rows)


def _find_population(store: Store, config: ReviewExportConfig) -> int:
    """Make `plan.population`, the headlines to draw from, and return how many there are."""
    condition = days_between(config.since, config.until).sql()
    if config.model is not None:
        condition += f" AND ({_labelled_by(store, config.model)})"
    if config.run is None:
        publications = latest_publications(store)
    else:
        run = find_run(store, config.run, ("run_id",))
        publications = publications_of(store, run["run_id"])[1] if run else []
    if not publications:
        return 0
    view_published(store, publications, {})
    names = [row[0] for row in store.query("DESCRIBE scored_headlines")]
    source = next(map(quote_identifier, usual_columns(names, SOURCE_COLUMNS)), "NULL")
    sql = read_sql("review/population").format(
        headline=normalize_sql("news_text"),
        key=key_sql("headline"),
        source=f"CAST({source} AS VARCHAR)",
        condition=condition,
    )
    store.query(f"CREATE OR REPLACE TABLE plan.population AS {sql}")
    return int(store.query("SELECT count(*) FROM plan.population")[0][0])


_NAMED: Final = "(model = $1 OR (starts_with(model_fingerprint, $1) AND $1 <> ''))"


def _labelled_by(store: Store, model: str) -> str:
    """Return SQL that holds of the rows of a model, by its name or fingerprint.

    Of the two models of a run with --first, as `runs` names them together, these are the rows
    that the first is sure of, and those of the other that it is not.
    """
    models = store.query(f"SELECT model_fingerprint FROM models WHERE {_NAMED}", [model])
    found = [f"model_fingerprint = {quote_literal(one)}" for (one,) in models]
    cascades = store.query(
        f"""SELECT DISTINCT summary->>'$.cascade.first_fingerprint' AS first,
            summary->>'$.cascade.second_fingerprint', summary->>'$.cascade.sure'
        FROM runs WHERE first IS NOT NULL AND {_NAMED}""",
        [model],
    )
    for one, other, sure in cascades:
        is_sure = (
            f"model_fingerprint = {quote_literal(one)} "
            f"AND greatest(p_negative, p_neutral, p_positive) >= CAST({float(sure)!r} AS FLOAT)"
        )
        found += [
            is_sure,
            f"model_fingerprint = {quote_literal(other)} "
            f"AND {key_sql(normalize_sql('news_text'))} NOT IN "
            f"(SELECT headline_key FROM {STORE_CATALOG}.scores WHERE {is_sure})",
        ]
    if not found:
        raise UsageError(
            f"--model: nothing was scored by {model!r}; finsent-batch models and runs list all"
        )
    return " OR ".join(found)


def _scale(store: Store, rows: int) -> float:
    """Return by what to multiply sizes so that the probabilities, at most 1, add up to `rows`."""
    found = store.query(
        """SELECT sqrt(sure * (1 - sure)), count(*) FROM (
            SELECT round(least(CAST(confidence AS DOUBLE), 0.95), 2) AS sure FROM plan.population)
        GROUP BY sure ORDER BY sure"""
    )
    sizes, counts = np.array(found, dtype=np.float64).T
    if counts.sum() <= rows:
        return float(1 / sizes.min()) * 2
    low, high = 0.0, float(1 / sizes.min())
    for _ in range(100):
        middle = (low + high) / 2
        too_few = (np.minimum(1, middle * sizes) * counts).sum() < rows
        low, high = (middle, high) if too_few else (low, middle)
    return high
