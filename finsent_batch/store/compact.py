"""Make a store small again: forget old runs, give the room of what is gone back to the disk."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from ..errors import first_line
from ..io.atomic import force_to_disk
from ..io.sql import database_literal
from .connection import STORE_CATALOG
from .store import Store
from .views import refresh_views

logger = logging.getLogger(__name__)

_COPY = "compacted"


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """What was forgotten and what it gained; sizes in bytes."""

    runs: int
    scores: int
    published: int | None
    """How many of these scores rows of published outputs have; None if a file cannot be read."""
    before: int
    after: int


def compact(store: Store, *, keep_runs: int | None = None) -> Compacted:
    """Forget all but the latest runs, where `keep_runs` is given, and write the file anew.

    The file is written beside the store, published, and takes its place whole; until then
    the store is as it was. Afterwards `store` still reads the old file: close it.
    """
    assert store.session is not None
    store.connection.execute(f"CHECKPOINT {STORE_CATALOG}")
    before = store.file.stat().st_size
    runs, scores, published = (0, 0, 0) if keep_runs is None else forget(store, keep_runs)
    copy = store.work_folder() / "compact.duckdb"
    connection = store.connection
    connection.execute(f"CHECKPOINT {STORE_CATALOG}")
    connection.execute(f"ATTACH {database_literal(copy)} AS {_COPY} (TYPE duckdb)")
    connection.execute(f"COPY FROM DATABASE {STORE_CATALOG} TO {_COPY}")
    connection.execute(f"DETACH {_COPY}")
    copy.chmod(store.file.stat().st_mode & 0o777)
    force_to_disk(copy)
    store.session.publish(copy)
    # The old file is still locked: nobody can have begun to write to it.
    _put_in_place(store, copy)
    store.session.leave()
    after = store.file.stat().st_size
    return Compacted(runs=runs, scores=scores, published=published, before=before, after=after)


def _put_in_place(store: Store, copy: Path) -> None:
    copy.replace(store.file)
    force_to_disk(store.file.parent)


_FORGOTTEN: Final = "run_id IN (FROM plan.forgotten)"
_DROPPED: Final = (
    f"{_FORGOTTEN} AND (headline_key, model_fingerprint) NOT IN (FROM plan.companions)"
)
"""Which scores go: those of forgotten runs, but for a cascade's beside the ones that stay."""


def forget(store: Store, keep_runs: int) -> tuple[int, int, int | None]:
    """Forget the runs before the last `keep_runs` that were done, with all they scored.

    Their lines in `quarantine` go too, and in `run_files` where a later run published
    the same again; of what is published nothing is touched. A headline scored by
    none but a forgotten run is scored again when it comes again. Where a run that stays
    was a cascade, the two models' scores of a headline stay as long as one of them does,
    and with them the run that scored.

    Returns the number of runs and of scores forgotten, and of those scores that published
    rows still have.
    """
    store.connection.execute(
        """CREATE OR REPLACE TABLE plan.forgotten AS SELECT run_id FROM runs
        WHERE started_at < (SELECT min(started_at) FROM (
            SELECT started_at FROM runs WHERE status = 'done'
            ORDER BY started_at DESC LIMIT $1) HAVING count(*) = $1)""",
        [keep_runs],
    )
    _find_companions(store)
    published = _still_published(store)
    with store.transaction() as connection:
        connection.execute(f"""DELETE FROM run_files AS old WHERE {_FORGOTTEN} AND EXISTS (
            FROM run_files AS new
            WHERE (coalesce(new.number, 0), new.published_at)
                > (coalesce(old.number, 0), old.published_at)
            AND new.input = old.input AND new.output = old.output
            AND new.input_table IS NOT DISTINCT FROM old.input_table
            AND new.output_table IS NOT DISTINCT FROM old.output_table)""")
        connection.execute(f"DELETE FROM quarantine WHERE {_FORGOTTEN}")
        scores, runs = (
            connection.execute(f"DELETE FROM {table} WHERE {gone}").fetchall()[0][0]
            for table, gone in (
                ("scores", _DROPPED),
                ("runs", f"{_FORGOTTEN} AND run_id NOT IN (SELECT run_id FROM scores)"),
            )
        )
    return runs, scores, published


def _find_companions(store: Store) -> None:
    """Collect the scores of `plan.forgotten` that a cascade has beside those that stay."""
    store.connection.execute(
        f"""CREATE OR REPLACE TABLE plan.companions AS
        WITH cascades AS (
            SELECT DISTINCT summary->>'$.cascade.first_fingerprint' AS one,
                summary->>'$.cascade.second_fingerprint' AS other
            FROM runs WHERE NOT {_FORGOTTEN} AND summary->>'$.cascade.first_fingerprint' <> ''),
        pairs AS (FROM cascades UNION SELECT other, one FROM cascades)
        SELECT DISTINCT old.headline_key, old.model_fingerprint
        FROM pairs JOIN scores AS old ON old.model_fingerprint = pairs.one
            JOIN scores AS kept ON kept.model_fingerprint = pairs.other
                AND kept.headline_key = old.headline_key
        WHERE old.{_FORGOTTEN} AND NOT kept.{_FORGOTTEN}"""
    )


def _still_published(store: Store) -> int | None:
    """Return how many of the scores that go rows of published outputs have."""
    refresh_views(store)
    try:
        [(count,)] = store.query(
            f"""SELECT count(*) FROM scores WHERE {_DROPPED}
            AND (headline_key, model_fingerprint) IN (
                SELECT (finsent_key(news_text), model_fingerprint) FROM scored_headlines
                WHERE sentiment IS NOT NULL)"""
        )
    except duckdb.Error as error:
        logger.warning("published outputs cannot be read (%s)", first_line(error))
        return None
    return int(count)
