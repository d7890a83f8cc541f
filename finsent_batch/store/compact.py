"""Make a store small again: forget old runs, give the room of what is gone back to the disk."""

import logging
from dataclasses import dataclass
from pathlib import Path

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


def forget(store: Store, keep_runs: int) -> tuple[int, int, int | None]:
    """Forget the runs before the last `keep_runs` that were done, with all they scored.

    Their lines in `quarantine` go too, and in `run_files` where a later run published
    the same again; of what is published nothing is touched. A headline scored by
    none but a forgotten run is scored again when it comes again.

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
    published = _still_published(store)
    gone = "WHERE run_id IN (FROM plan.forgotten)"
    with store.transaction() as connection:
        connection.execute(f"""DELETE FROM run_files AS old {gone} AND EXISTS (
            FROM run_files AS new
            WHERE (coalesce(new.number, 0), new.published_at)
                > (coalesce(old.number, 0), old.published_at)
            AND new.input = old.input AND new.output = old.output
            AND new.input_table IS NOT DISTINCT FROM old.input_table
            AND new.output_table IS NOT DISTINCT FROM old.output_table)""")
        connection.execute(f"DELETE FROM quarantine {gone}")
        counts = [
            connection.execute(f"DELETE FROM {table} {gone}").fetchall()[0][0]
            for table in ("runs", "scores")
        ]
    return counts[0], counts[1], published


def _still_published(store: Store) -> int | None:
    """Return how many scores of `plan.forgotten` rows of published outputs have."""
    refresh_views(store)
    try:
        [(count,)] = store.query(
            """SELECT count(*) FROM scores WHERE run_id IN (FROM plan.forgotten)
            AND (headline_key, model_fingerprint) IN (
                SELECT (finsent_key(news_text), model_fingerprint) FROM scored_headlines
                WHERE sentiment IS NOT NULL)"""
        )
    except duckdb.Error as error:
        logger.warning("published outputs cannot be read (%s)", first_line(error))
        return None
    return int(count)
