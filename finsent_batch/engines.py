"""Who runs the scorer: this process, committing to the store as it goes.

`ray_engine.py` has the other engine; what both share, the commit, is here.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from .failpoints import failpoint
from .planning import Plan, Progress, pending_chunks
from .scorers import ScoredBatch, Scorer, Tokenised
from .store import Store

# Headlines tokenised and sorted at a time. The plan has sorted all of them by
# characters already; this sorts by tokens within a chunk.
CHUNK_HEADLINES = 8_192


@dataclass(kw_only=True)
class Scored:
    """What a run has computed."""

    headlines: int = 0
    invalid: int = 0
    tokens: int = 0
    path: str | None = None
    """How batches were run, as the scorer names it."""
    load_seconds: float = 0.0
    """Time until the first model was loaded, where the engine loads it."""
    actors: int | None = None
    """How many actors gave scores; None where this process was the one scorer."""
    peak_vram_mb: float | None = None
    """The most GPU memory that one actor held; None without actors on GPUs."""


def utc_now() -> datetime:
    """Return the time in UTC without a zone, as the store's TIMESTAMP columns hold it."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass(frozen=True, kw_only=True)
class Commit:
    """How scores reach the store: for which model and run, and how often."""

    fingerprint: str
    run_id: str
    store_text: bool
    every_seconds: float
    check: Callable[[], None]
    """Called before each commit; raises where the scores are not of the model that was hashed."""


def run_local(
    store: Store,
    scorer: Scorer,
    plan: Plan,
    commit: Commit,
    *,
    progress: Progress,
    stop: Callable[[], bool],
) -> Scored:
    """Score what the plan left pending; return early, with all committed, when `stop()` is true."""
    total = Scored(path=scorer.path)
    with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as background:
        chunks = pending_chunks(store, CHUNK_HEADLINES)
        for chunk, tokenised in _tokenised_ahead(chunks, scorer, background):
            for group in _timed_groups(scorer.score_tokenised(tokenised), commit, stop):
                positions = np.concatenate([batch.positions for batch in group])
                commit_scores(store, chunk.take(pa.array(positions)), group, commit, total)
                progress("score", total.headlines + total.invalid, plan.pending)
            if stop():
                break
    return total


def _tokenised_ahead(
    chunks: Iterator[pa.Table], scorer: Scorer, background: Executor
) -> Iterator[tuple[pa.Table, Tokenised]]:
    """Yield each chunk with its tokens, while those of the next are made in the background.

    The store is read in this thread only.
    """
    ahead: tuple[pa.Table, Future[Tokenised]] | None = None
    for chunk in chunks:
        begun = background.submit(scorer.tokenise, chunk["headline"].to_pylist())
        if ahead is not None:
            yield ahead[0], ahead[1].result()
        ahead = chunk, begun
    if ahead is not None:
        yield ahead[0], ahead[1].result()


def _timed_groups(
    batches: Iterator[ScoredBatch], commit: Commit, stop: Callable[[], bool]
) -> Iterator[list[ScoredBatch]]:
    """Gather batches until it is time to commit them."""
    group: list[ScoredBatch] = []
    since = time.monotonic()
    for batch in batches:
        group.append(batch)
        failpoint("batch")
        if stop():
            break
        if time.monotonic() - since >= commit.every_seconds:
            yield group
            group, since = [], time.monotonic()
    if group:
        yield group


def commit_scores(
    store: Store, rows: pa.Table, group: Sequence[ScoredBatch], commit: Commit, total: Scored
) -> None:
    """Put scores into the store in one transaction, and what has none into `plan.invalid`.

    `rows` are the headlines (headline_key, headline) of the group's batches, in their order.
    """
    probabilities = np.concatenate([b.probabilities for b in group])
    table = pa.table(
        {
            "headline_key": rows["headline_key"],
            "headline": rows["headline"],
            "finite": np.isfinite(probabilities).all(axis=1),
            "p_negative": probabilities[:, 0],
            "p_neutral": probabilities[:, 1],
            "p_positive": probabilities[:, 2],
            "truncated": np.concatenate([b.truncated for b in group]),
        }
    )
    connection = store.connection
    connection.register("new_scores", table)
    failpoint("before_commit")
    commit.check()
    with store.transaction():
        connection.execute(
            f"""INSERT INTO scores
            SELECT headline_key::UUID, $1, {"headline" if commit.store_text else "NULL"},
                p_negative, p_neutral, p_positive, truncated, $2, $3::TIMESTAMP
            FROM new_scores WHERE finite""",
            [commit.fingerprint, commit.run_id, utc_now()],
        )
        failpoint("in_commit")
    failpoint("committed")
    connection.execute("""
        INSERT INTO plan.invalid
        SELECT headline_key::UUID, 'the model gave no finite probabilities'
        FROM new_scores WHERE NOT finite""")
    connection.unregister("new_scores")
    invalid = int((~np.isfinite(probabilities).all(axis=1)).sum())
    total.headlines += len(probabilities) - invalid
    total.invalid += invalid
    total.tokens += sum(b.tokens for b in group)
