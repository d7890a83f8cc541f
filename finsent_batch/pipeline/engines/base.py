"""What every engine shares: commit scores to the store every few seconds."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from ...arrays import to_arrow
from ...failpoints import failpoint
from ...scorers.base import ScoredBatch
from ...store.store import Store, utc_now

logger = logging.getLogger(__name__)

ENOUGH: Final = 100_000
"""Scores are committed at this many headlines, however seldom they are to be: nothing goes on
beside the commit of the last ones. Less than a row group of DuckDB, 122,880: what is more is
written to the file first and then once more, which leaves it with free blocks."""


_WAITING: Final = 3
"""Groups of scores that may wait for the store."""


@dataclass(frozen=True, kw_only=True)
class CommitSettings:
    """How scores reach the store: for which model and run, and how often."""

    fingerprint: str
    run_id: str
    store_text: bool
    every_seconds: float
    check: Callable[[], None]
    """Called before each commit; raises where the scores are not of the model that was hashed."""


@dataclass(kw_only=True)
class EngineResult:
    """What a run has computed."""

    headlines: int = 0
    invalid: int = 0
    tokens: int = 0
    batching: str | None = None
    """How batches were run, as the scorer names it."""
    near_tie: float | None = None
    """The widest margin for near-ties of the actors that gave scores; None without one."""
    load_seconds: float = 0.0
    """Time until the first model was loaded, where the engine loads it."""
    actors: int | None = None
    """How many actors gave scores; None where this process was the one scorer."""
    peak_vram_mb: float | None = None
    """The most GPU memory that one actor held; None without actors on GPUs."""


def commit_scores(
    store: Store,
    positions: np.ndarray,
    group: Sequence[ScoredBatch],
    commit: CommitSettings,
    total: EngineResult,
) -> None:
    """Put scores into the store in one transaction, and what has none into `plan.invalid`.

    `positions`, shape (n,), are those of the group's headlines in `plan.pending`, in their order:
    keys and headlines are taken from there.
    """
    probabilities = np.concatenate([b.probabilities for b in group])
    columns = {
        "position": positions,
        "finite": np.isfinite(probabilities).all(axis=1),
        "p_negative": probabilities[:, 0],
        "p_neutral": probabilities[:, 1],
        "p_positive": probabilities[:, 2],
        "truncated": np.concatenate([b.truncated for b in group]),
    }
    table = pa.table({name: to_arrow(values) for name, values in columns.items()})
    connection = store.connection
    connection.register("new_scores", table)
    failpoint("before_commit")
    commit.check()
    with store.transaction():
        connection.execute(
            f"""INSERT INTO scores
            SELECT headline_key, $1, {"headline" if commit.store_text else "NULL"},
                p_negative, p_neutral, p_positive, truncated, $2, $3::TIMESTAMP
            FROM new_scores JOIN plan.pending USING (position) WHERE finite""",
            [commit.fingerprint, commit.run_id, utc_now()],
        )
        failpoint("in_commit")
    failpoint("committed")
    connection.execute("""
        INSERT INTO plan.invalid
        SELECT headline_key, 'the model gave no finite probabilities'
        FROM new_scores JOIN plan.pending USING (position) WHERE NOT finite""")
    connection.unregister("new_scores")
    invalid = int((~np.isfinite(probabilities).all(axis=1)).sum())
    logger.debug("committed the scores of %d headlines", len(probabilities) - invalid)
    total.headlines += len(probabilities) - invalid
    total.invalid += invalid
    total.tokens += sum(b.tokens for b in group)


class Commits:
    """Commits on their way, in order, in the thread of the store.

    A commit that fills a row group, which DuckDB then compresses, takes as long as four others, so
    that some may wait. Where a scorer's error ends the run, those are made all the same; behind a
    commit that failed no other is.
    """

    def __init__(self, storing: Executor, told: Callable[[], None]) -> None:
        self._storing = storing
        self._told = told
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def add(self, commit: Callable[[], None]) -> None:
        """Let a commit wait for the store, once fewer than `_WAITING` do."""
        self.settle(_WAITING - 1)
        self._waiting.append(self._storing.submit(self._make, commit))

    def _make(self, commit: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            commit()
        except BaseException:
            self._failed = True
            raise

    def settle(self, most: int) -> None:
        """Wait until no more than `most` are waiting; raises what one of them raised."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            self._waiting.popleft().result()
            self._told()
