"""What a run settles about the times of its news, before anything is published.

The column was chosen when the input was opened. Here its values are looked at once: which of day
and month comes first, how many rows have no time that can be read, and why.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from ..arrays import row_numbers
from ..io.arrow import registered
from ..io.base import Source
from ..io.columns import NewsColumns
from ..io.sql import quote_literal
from ..io.times.reading import is_text, with_time_sql
from ..io.times.settle import (
    TimeCounts,
    count_times,
    counts_of_days,
    day_counts_sql,
    settle_order,
)
from ..io.times.text import BLANK, is_plain_sql, plain_time_sql, within_years_sql
from ..store.store import Store
from .plan import HAS_TEXT

QUARANTINED_TIMES: Final = 1_000
"""The most rows of an input that `quarantine` lists for their times; all are counted."""


@dataclass(frozen=True, kw_only=True)
class NewsTimes:
    """The times of one input, as its publication records them."""

    columns: NewsColumns
    counts: TimeCounts = field(default_factory=TimeCounts)
    content: str | None = None
    """A digest of headlines and times in any order, the same for a copy whatever its name or
    format; None without a headline."""


def settle_times(store: Store, number: int, source: Source, columns: NewsColumns) -> NewsTimes:
    """Look at the times of the input that has this number in `plan.plan_rows`.

    The rows whose time cannot be read are added to `plan.undated`.
    """
    connection = store.connection
    connection.execute("""CREATE TABLE IF NOT EXISTS plan.undated
        (file INTEGER, row_number BIGINT, reason VARCHAR, content VARCHAR)""")
    counts = TimeCounts()
    if columns.date_column is not None:
        columns, counts = _settle(store, number, source, columns, columns.date_column)
    return NewsTimes(columns=columns, counts=counts, content=_content(store, number, counts))


def _settle(
    store: Store, number: int, source: Source, columns: NewsColumns, column: str
) -> tuple[NewsColumns, TimeCounts]:
    connection = store.connection
    schema = pa.schema(
        [("row_number", pa.int64()), pa.field("value", source.schema.arrow.field(column).type)]
    )
    with registered(connection, "source_times", schema, iter(())):
        kind = connection.execute("DESCRIBE SELECT value FROM source_times").fetchall()[0][1]
    reading = columns.times
    if not is_text(kind):
        with registered(connection, "source_times", schema, _values(source, column, schema)):
            return columns, count_times(connection, "source_times", "value", kind, reading)
    text = "CAST(value AS VARCHAR)" if kind != "BLOB" else "TRY(decode(value))"
    plain = is_plain_sql(text, reading)
    time = within_years_sql(f"CASE WHEN {plain} THEN {plain_time_sql(text, reading)} END")
    with registered(connection, "source_times", schema, _values(source, column, schema)):
        days = connection.execute(
            f"SELECT {day_counts_sql('t')} FROM (SELECT {time} AS t FROM source_times) GROUP BY ALL"
        ).fetchall()
    found = counts_of_days(days)
    if found.dated < sum(rows for _, rows, _, _ in days):
        with registered(connection, "source_times", schema, _values(source, column, schema)):
            connection.execute(
                "CREATE OR REPLACE TABLE plan.odd_times AS SELECT row_number, value "
                f"FROM source_times WHERE ({time}) IS NULL"
            )
        reading = settle_order(connection, "plan.odd_times", "value", kind, reading)
        found += count_times(connection, "plan.odd_times", "value", kind, reading)
        odd = with_time_sql("plan.odd_times", "value", kind, reading)
        connection.execute(
            f"INSERT INTO plan.undated SELECT {number}, row_number, _t_fault, {text} "
            f"FROM ({odd}) WHERE _t_fault IS NOT NULL AND _t_fault <> {quote_literal(BLANK)} "
            f"ORDER BY row_number LIMIT {QUARANTINED_TIMES}"
        )
        connection.execute("DROP TABLE plan.odd_times")
    return replace(columns, times=reading), found


def _values(source: Source, column: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in source.batches([column]):
        numbers = row_numbers(start, batch.num_rows)
        start += batch.num_rows
        yield pa.RecordBatch.from_arrays([numbers, batch.column(0)], schema=schema)


def _content(store: Store, number: int, counts: TimeCounts) -> str | None:
    """Digest the keys of an input's headlines, added up so that order does not matter."""
    [(rows, *sums)] = store.query(
        f"""SELECT count(*), bit_xor(key), CAST(sum(CAST(key >> 64 AS UBIGINT)) AS VARCHAR)
        FROM (SELECT CAST(headline_key AS UHUGEINT) AS key FROM plan.plan_rows
            WHERE file = ? AND state = {HAS_TEXT})""",
        [number],
    )
    if not rows:
        return None
    said = f"{rows}:{sums}:{counts.dated}:{counts.microseconds}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]
