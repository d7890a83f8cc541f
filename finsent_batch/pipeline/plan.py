"""Plan: which headlines of the sources have no score yet. Relational, flat in memory.

`plan.plan_rows` keeps a key a row, in source order; `plan.keys` each key once, with
the number of its rows and the place of the first; `plan.pending` the headlines to
score, longest first: padding is then next to nothing, and running out of memory shows
in the first batch, not in the last. `plan.answers` is the view of the scores that are
published.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa

from ..failpoints import failpoint
from ..headlines import key_sql, normalize_sql
from ..io.arrow import registered
from ..io.base import BATCH_ROWS, Source
from ..io.sql import quote_literal
from ..progress import Progress
from ..store.connection import STORE_CATALOG
from ..store.store import Store
from .texts.digest import TextDigest
from .texts.source_rows import keyed_rows, keyed_schema, row_schema, source_rows
from .texts.traits import COLUMNS, traits_sql

logger = logging.getLogger(__name__)

HAS_TEXT, IS_EMPTY, IS_UNDECODABLE = range(3)

_NORMAL_FORM = normalize_sql("text", "unusual")
# A row's place in all sources is its file's number times this, and its own.
_MOST_ROWS = 2**40


@dataclass(frozen=True, kw_only=True)
class PlannedSource:
    """A source and its headline column, with what it was when it was planned."""

    source: Source
    text_column: str
    signature: object
    rows: int
    digest: bytes
    """The `TextDigest` of its headline column."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run has to do; the rows themselves are in the store's plan catalog."""

    sources: tuple[PlannedSource, ...]
    rows: int
    texts: int
    """Rows that have a headline."""
    distinct: int
    pending: int = 0
    pending_characters: int = 0


def make_plan(
    store: Store,
    sources: Sequence[tuple[Source, str]],
    fingerprint: str,
    progress: Progress,
    origins: Sequence[str | None] = (),
) -> Plan:
    """Key every row, then collect the distinct headlines that `fingerprint` has not scored.

    `sources` are given with their columns of headlines; `origins` are the columns that say where
    a headline is from, which `plan_rows` keeps as `source`.

    The text is read again for those alone, so that a plan in which everything
    is already scored never holds a headline.
    """
    connection = store.connection
    connection.execute(f"""
        CREATE OR REPLACE TABLE plan.plan_rows
            (file INTEGER, row_number BIGINT, headline_key UUID, state UTINYINT, source VARCHAR,
            {COLUMNS});
        CREATE OR REPLACE TABLE plan.invalid (headline_key UUID, reason VARCHAR);""")
    planned = []
    total = 0
    for file, (source, column) in enumerate(sources):
        signature = source.signature()
        digest = TextDigest()
        origin = origins[file] if origins else None
        rows = _key_rows(store, file, source, (column, origin), progress, total, digest)
        total += rows
        logger.debug("planned %s: %d rows, headlines in %r", source.path, rows, column)
        planned.append(
            PlannedSource(
                source=source,
                text_column=column,
                signature=signature,
                rows=rows,
                digest=digest.value(),
            )
        )
    failpoint("plan")
    store.connection.execute(f"""
        CREATE OR REPLACE TABLE plan.keys AS
        SELECT headline_key, count(*) AS rows, min(file * {_MOST_ROWS} + row_number) AS first_place
        FROM plan.plan_rows WHERE state = {HAS_TEXT} GROUP BY headline_key;
        CREATE OR REPLACE VIEW plan.answers AS {scores_sql(fingerprint)}""")
    distinct, texts = store.query("SELECT count(*), coalesce(sum(rows), 0) FROM plan.keys")[0]
    plan = Plan(sources=tuple(planned), rows=total, texts=int(texts), distinct=distinct)
    return plan_pending(store, plan, fingerprint, "plan.keys")


def scores_sql(fingerprint: str, number: int = 0) -> str:
    """Return SQL for the scores of a model, each with the model's `number` among the run's."""
    return (
        f"SELECT *, CAST({number} AS UTINYINT) AS answered_by FROM {STORE_CATALOG}.scores "
        f"WHERE model_fingerprint = {quote_literal(fingerprint)}"
    )


def plan_pending(store: Store, plan: Plan, fingerprint: str, keys: str) -> Plan:
    """Collect those headlines of `keys`, a part of `plan.keys`, that `fingerprint` lacks."""
    store.connection.execute(
        f"""
        CREATE OR REPLACE TABLE plan.pending_keys AS
        SELECT headline_key, first_place FROM {keys} WHERE headline_key NOT IN
            (SELECT headline_key FROM scores WHERE model_fingerprint = ?)""",
        [fingerprint],
    )
    _collect_pending(store, plan.sources)
    found = store.query("SELECT count(*), coalesce(sum(length(headline)), 0) FROM plan.pending")
    return replace(plan, pending=found[0][0], pending_characters=int(found[0][1]))


def _key_rows(
    store: Store,
    file: int,
    source: Source,
    columns: tuple[str, str | None],
    progress: Progress,
    done: int,
    digest: TextDigest,
) -> int:
    rows = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in source_rows(source, *columns):
            rows += batch.num_rows
            digest.add(batch.column("text"), batch.column("undecodable"))
            progress("plan", done + rows, None)
            yield batch

    origin = "coalesce(CAST(origin AS VARCHAR), '')" if columns[1] else "NULL"
    with registered(store.connection, "source_rows", row_schema(source, columns[1]), counted()):
        store.connection.execute(f"""
            INSERT INTO plan.plan_rows
            SELECT {file}, row_number,
                CASE WHEN headline <> '' THEN {key_sql("headline")} END,
                CASE WHEN undecodable THEN {IS_UNDECODABLE}
                     WHEN coalesce(headline, '') = '' THEN {IS_EMPTY} ELSE {HAS_TEXT} END,
                origin, {traits_sql()}
            FROM (SELECT row_number, undecodable, {_NORMAL_FORM} AS headline, {origin} AS origin
                  FROM source_rows)""")
    return rows


def _collect_pending(store: Store, planned: Sequence[PlannedSource]) -> None:
    """Fill `plan.pending` (position, headline_key, headline), longest headline first.

    A headline is taken from its first row, or where that has changed since, from none.
    """
    store.connection.execute(
        "CREATE OR REPLACE TABLE plan.pending_text (headline_key UUID, headline VARCHAR)"
    )
    if store.query("SELECT count(*) FROM plan.pending_keys")[0][0]:
        for number, file in enumerate(planned):
            begin = number * _MOST_ROWS
            with closing(store.connection.cursor()) as cursor:
                keys = cursor.sql(
                    f"""SELECT headline_key, first_place - {begin} AS row_number
                    FROM plan.pending_keys
                    WHERE first_place >= {begin} AND first_place < {begin + _MOST_ROWS}
                    ORDER BY row_number"""
                ).to_arrow_reader(BATCH_ROWS)
                rows = keyed_rows(file.source, file.text_column, keys)
                with registered(store.connection, "source_rows", keyed_schema(keys.schema), rows):
                    store.connection.execute(f"""
                        INSERT INTO plan.pending_text SELECT headline_key, headline
                        FROM (SELECT headline_key, {_NORMAL_FORM} AS headline FROM source_rows)
                        WHERE {key_sql("headline")} = headline_key""")
    # Numbered as they come out of the sort: a window with an order of its own takes five times as
    # long.
    store.connection.execute("""
        CREATE OR REPLACE TABLE plan.pending AS
        SELECT row_number() OVER () - 1 AS position, headline_key, headline
        FROM (FROM plan.pending_text ORDER BY strlen(headline) DESC, headline_key);
        DROP TABLE plan.pending_text;
        DROP TABLE plan.pending_keys;""")


def pending_headlines(store: Store, start: int, count: int) -> pa.ChunkedArray:
    """Return up to `count` headlines to score, from position `start` of the plan on."""
    return (
        store.connection.sql(
            "SELECT headline FROM plan.pending "
            "WHERE position >= $1 AND position < $1 + $2 ORDER BY position",
            params=[start, count],
        )
        .to_arrow_table()
        .column("headline")
    )
