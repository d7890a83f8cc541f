"""The views that analysts query, kept in the store with their documentation.

| view | a row is |
|---|---|
| `scored_headlines` | a published row, with its own columns and the result columns |
| `daily_sentiment` | a day of news |
| `headline_scores` | a headline as one model scored it |
| `evaluated_headlines` | a labelled headline with the prediction of an evaluated model |
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import duckdb

from ..errors import FinsentError, first_line
from ..io.sql import quote_literal, read_sql
from ..labels import SENTIMENT_SQL
from .publications import latest_publications
from .published_tables import describe, literal_path
from .scored_headlines import check_result_columns, choose_columns, scored_headlines_sql, settle
from .store import Store

logger = logging.getLogger(__name__)

HEADLINE_SCORES: Final = f"""
SELECT headline_key, headline, {SENTIMENT_SQL} AS sentiment,
    p_positive - p_negative AS sentiment_score, p_negative, p_neutral, p_positive,
    greatest(p_negative, p_neutral, p_positive) AS confidence, truncated,
    models.model, scores.model_fingerprint, run_id, scored_at
FROM scores LEFT JOIN models ON models.model_fingerprint = scores.model_fingerprint"""

EVALUATED_COLUMNS: Final = {
    "headline": "VARCHAR",
    "label": "VARCHAR",
    "sentiment": "VARCHAR",
    "p_negative": "FLOAT",
    "p_neutral": "FLOAT",
    "p_positive": "FLOAT",
}
"""What `evaluated_headlines` takes from predictions, with their types."""

_SCORES = {
    "sentiment": "positive, neutral, negative; NULL where not scored",
    "sentiment_score": "P(positive) - P(negative), -1 to 1",
    "p_negative": "calibrated probability",
    "p_neutral": "calibrated probability",
    "p_positive": "calibrated probability",
    "model_fingerprint": "which weights, adapter, tokenizer and arithmetic gave it",
    "run_id": "the run that computed the score",
    "scored_at": "when it was computed, UTC",
}
DOCUMENTATION: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "scored_headlines": (
        "Published rows: of each input the latest output, with all its columns",
        {
            **_SCORES,
            "score_status": "scored, truncated, empty or invalid",
            "news_time": "when the news is of, UTC, from the column that was settled when it was "
            "scored; scored_at where there is none; NULL where it cannot be read surely",
            "news_text": "the text that was scored",
        },
    ),
    "daily_sentiment": (
        "Published news by day; SET VARIABLE since and until narrow it",
        {
            "day": "UTC; NULL for the rows whose time cannot be read",
            "headlines": "rows with a label",
            "mean_score": "mean sentiment_score",
            "positive_share": "share of the rows",
            "neutral_share": "share of the rows",
            "negative_share": "share of the rows",
        },
    ),
    "headline_scores": (
        "Each distinct headline once a model that scored it",
        {
            **_SCORES,
            "headline_key": "128 bits of SHA-256 over the normal form",
            "headline": "the text as it was scored; NULL with --no-store-text",
            "confidence": "probability of the label",
            "truncated": "whether only its beginning was scored",
            "model": "the model's name when it was first used",
        },
    ),
    "evaluated_headlines": (
        "Labelled headlines with the predictions of finsent-batch evaluate",
        {
            **{name: _SCORES[name] for name in EVALUATED_COLUMNS if name.startswith("p_")},
            "evaluated_at": "UTC",
            "model": "as it was named",
            "model_fingerprint": _SCORES["model_fingerprint"],
            "data": "path of the labelled file",
            "headline": "as in the labelled file",
            "label": "the true label",
            "sentiment": "the predicted label; NULL without a prediction",
        },
    ),
}
"""What each view is, and each of its columns; the store keeps both as comments."""


def refresh_views(store: Store) -> None:
    """Write the views anew, over what is published and evaluated now.

    They read files and tables of other DuckDB files in place. What cannot be read is left
    out with a warning.
    """
    tables = []
    for publication in latest_publications(store):
        try:
            table = describe(store.connection, publication, in_place=True)
            check_result_columns(table)
            table = choose_columns(table, {})
            if publication.undated is None:
                table, _ = settle(store.connection, table)
        except (FinsentError, duckdb.Error) as error:
            told = error if isinstance(error, FinsentError) else first_line(error)
            logger.warning("left out of the view scored_headlines: %s", told)
        else:
            tables.append(table)
    views = {
        "scored_headlines": scored_headlines_sql(tables),
        "daily_sentiment": read_sql("daily_sentiment"),
        "headline_scores": HEADLINE_SCORES,
        "evaluated_headlines": evaluated_headlines_sql(predictions_files(store)),
    }
    with store.transaction() as connection:
        for name, sql in views.items():
            connection.execute(f"CREATE OR REPLACE VIEW {name} AS {sql}")
            _comment(connection, name)


def _comment(connection: duckdb.DuckDBPyConnection, view: str) -> None:
    about, columns = DOCUMENTATION[view]
    connection.execute(f"COMMENT ON VIEW {view} IS {quote_literal(about)}")
    for column, meaning in columns.items():
        connection.execute(f"COMMENT ON COLUMN {view}.{column} IS {quote_literal(meaning)}")


def create_temporary_views(connection: duckdb.DuckDBPyConnection, views: Mapping[str, str]) -> None:
    """Let this connection's SQL find these views before those that the store keeps."""
    for name, sql in views.items():
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")


def predictions_files(store: Store) -> list[str]:
    """Return the predictions that evaluations recorded in the store wrote, wherever they are."""
    rows = store.query("""
        SELECT DISTINCT json_extract_string(metrics, '$.predictions') AS file
        FROM evaluations WHERE file IS NOT NULL ORDER BY file""")
    return [row[0] for row in rows]


def evaluated_headlines_sql(predictions_paths: Sequence[str]) -> str:
    """Return the SELECT behind `evaluated_headlines`: of each model and data the last evaluation.

    A file belongs to the last evaluation that wrote it.
    """
    nothing = ", ".join(f"CAST(NULL AS {k}) AS {n}" for n, k in EVALUATED_COLUMNS.items())
    taken = ", ".join(f"predictions.{name}" for name in EVALUATED_COLUMNS)
    predictions = f"SELECT CAST(NULL AS VARCHAR) AS filename, {nothing} WHERE false"
    files = ", ".join(quote_literal(literal_path(file)) for file in predictions_paths)
    there = ", ".join(quote_literal(file) for file in predictions_paths) or "NULL"
    if files:
        predictions += f"""
        UNION ALL BY NAME
        FROM read_parquet([{files}],
            allow_empty = true, union_by_name = true, filename = true,
            hive_partitioning = false)"""
    return f"""
    SELECT evaluated_at, model, model_fingerprint, data, {taken}
    FROM ({predictions}) AS predictions
    JOIN (
        SELECT * FROM (
            SELECT * FROM (
                SELECT evaluated_at, model, model_fingerprint, data,
                    json_extract_string(metrics, '$.predictions') AS file
                FROM evaluations)
            QUALIFY row_number() OVER (PARTITION BY file ORDER BY evaluated_at DESC) = 1)
        WHERE file IN ({there})
        QUALIFY row_number() OVER (
            PARTITION BY model, model_fingerprint, data ORDER BY evaluated_at DESC) = 1
    ) AS latest ON predictions.filename = latest.file"""
