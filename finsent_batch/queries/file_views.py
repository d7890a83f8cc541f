"""The views of scores and predictions over files that a user names, without a store."""

from collections.abc import Mapping, Sequence

from ..errors import BadDataError, UsageError
from ..headlines import key_sql, normalize_sql
from ..io.columns import LABEL_COLUMNS, TEXT_COLUMNS, named_column, usual_columns
from ..io.sql import quote_identifier, quote_literal
from ..store.published_tables import Table, relation_sql
from ..store.views import EVALUATED_COLUMNS


def headline_scores_sql() -> str:
    """Return the SELECT behind `headline_scores` over `scored_headlines`: each headline once.

    Files do not say what a model is called: its fingerprint stands for its name.
    """
    return f"""
    SELECT {key_sql("normal")} AS headline_key, normal AS headline, sentiment, sentiment_score,
        p_negative, p_neutral, p_positive,
        greatest(p_negative, p_neutral, p_positive) AS confidence,
        score_status = 'truncated' AS truncated,
        model_fingerprint AS model, model_fingerprint, run_id, scored_at
    FROM (SELECT *, {normalize_sql("news_text")} AS normal FROM scored_headlines)
    WHERE sentiment IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY normal, model_fingerprint ORDER BY scored_at DESC) = 1
    """


def predictions_sql(tables: Sequence[Table], columns: Mapping[str, str]) -> str:
    """Return the SELECT behind `evaluated_headlines` over files, whose models have no name.

    Raises:
        BadDataError: one lacks what is needed.
        UsageError: one has no column of a wanted name.
    """
    return " UNION ALL ".join(_predictions(table, columns) for table in tables)


def _predictions(table: Table, columns: Mapping[str, str]) -> str:
    label = _picked(table, columns, "label_column", LABEL_COLUMNS[:1])
    text = _picked(table, columns, "text_column", TEXT_COLUMNS)
    needed = [name for name in EVALUATED_COLUMNS if name not in ("headline", "label")]
    lacking = [name for name in needed if name not in table.names]
    if label is None or lacking:
        raise BadDataError(
            f"{table.source} has no column {lacking[0] if lacking else 'label'!r}: name the "
            "predictions.parquet of evaluate, or a scored file with --param label_column=…"
        )
    model = "coalesce(model_fingerprint, '')" if "model_fingerprint" in table.names else "''"
    parts = [f"CAST({name} AS {EVALUATED_COLUMNS[name]}) AS {name}" for name in needed]
    return f"""
    SELECT {model} AS model, {model} AS model_fingerprint,
        {quote_literal(table.source)} AS data,
        CAST({quote_identifier(text) if text else "NULL"} AS VARCHAR) AS headline,
        lower(CAST({quote_identifier(label)} AS VARCHAR)) AS label, {", ".join(parts)}
    FROM {relation_sql(table.kind, [table.source], table.names)}
    WHERE {quote_identifier(label)} IS NOT NULL"""


def _picked(
    table: Table, wanted: Mapping[str, str], parameter: str, usual: Sequence[str]
) -> str | None:
    """Return the column that a parameter names, else the first usual one there is.

    Raises:
        UsageError: there is no column of the name.
    """
    if parameter not in wanted:
        return next(iter(usual_columns(table.names, usual)), None)
    column = named_column(table.names, wanted[parameter])
    if column is None:
        raise UsageError(
            f"--param {parameter}={wanted[parameter]}: {table.source} has no such column; "
            f"it has: {', '.join(table.names)}"
        )
    return column
