"""The views that analysts query, kept in the store with their documentation.

| view | a row is |
|---|---|
| `scored_headlines` | a published row, with its own columns and the result columns |
| `daily_sentiment` | a day of news |
| `headline_scores` | a headline as one model scored it |
| `evaluated_headlines` | a labelled headline with the prediction of an evaluated model |

Beside them are the macros `finsent_normal_form(text)` and `finsent_key(text)`, which join any table
to its scores.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import duckdb

from ..errors import FinsentError, first_line
from ..headlines import KEY_MACROS
from ..io.objects.addresses import is_address
from ..io.sql import quote_literal, read_sql
from .counted import latest_publications, spared_outputs
from .publications import Publication
from .published_tables import Table, describe, literal_path
from .scored_headlines import check_result_columns, choose_columns, kept_view_sql, settle
from .store import Store

logger = logging.getLogger(__name__)

EVALUATED_COLUMNS: Final = {
    "headline": "VARCHAR",
    "label": "VARCHAR",
    "sentiment": "VARCHAR",
    "p_negative": "FLOAT",
    "p_neutral": "FLOAT",
    "p_positive": "FLOAT",
}
"""What `evaluated_headlines` takes from predictions, with their types."""


def refresh_views(store: Store) -> None:
    """Write the views anew, over what is published and evaluated now.

    They read files and tables of other DuckDB files in place. Of an output in a bucket they say
    that they cannot. What cannot be read is left
    out with a warning.
    """
    latest = latest_publications(store)
    elsewhere = [p.path for p in latest if is_address(p.path)]
    tables = _tables(store, [p for p in latest if p.path not in elsewhere])
    views = {
        "scored_headlines": kept_view_sql(
            tables, spared_outputs(store), _recorded(store), elsewhere
        ),
        "daily_sentiment": read_sql("daily_sentiment"),
        "headline_scores": read_sql("store/views/headline_scores"),
        "evaluated_headlines": evaluated_headlines_sql(predictions_files(store)),
    }
    with store.transaction() as connection:
        for name, sql in views.items():
            connection.execute(f"CREATE OR REPLACE VIEW {name} AS {sql}")
        for signature, body in KEY_MACROS.items():
            connection.execute(f"CREATE OR REPLACE MACRO {signature} AS {body}")
        connection.execute(read_sql("store/views/comments"))


def _tables(store: Store, publications: Sequence[Publication]) -> list[Table]:
    """Look at what is published, as a view that the store keeps must read it."""
    tables = []
    for publication in publications:
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
            tables.append(replace(table, file=table.file or publication.path))
    return tables


def _recorded(store: Store) -> int:
    [(count,)] = store.query(
        "SELECT count(DISTINCT (input, input_table)) FROM run_files WHERE forgotten_at IS NULL"
    )
    return int(count)


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
    """Return the SELECT behind `evaluated_headlines`, over these files of predictions."""
    nothing = ", ".join(f"CAST(NULL AS {k}) AS {n}" for n, k in EVALUATED_COLUMNS.items())
    predictions = f"SELECT CAST(NULL AS VARCHAR) AS filename, {nothing} WHERE false"
    patterns = ", ".join(quote_literal(literal_path(file)) for file in predictions_paths)
    if patterns:
        predictions += f"""
        UNION ALL BY NAME
        FROM read_parquet([{patterns}],
            allow_empty = true, union_by_name = true, filename = true,
            hive_partitioning = false)"""
    paths = ", ".join(map(quote_literal, predictions_paths))
    return f"""WITH predictions AS ({predictions}),
    prediction_files AS (SELECT unnest(CAST([{paths}] AS VARCHAR[])) AS path)
{read_sql("store/views/evaluated_headlines")}"""
