"""The engine of one process: score here, committing to the store as it goes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from ...failpoints import failpoint
from ...progress import Progress
from ...scorers.base import ScoredBatch, Scorer, Tokenized
from ...store.store import Store
from ..plan import Plan, pending_chunks
from .base import CommitSettings, EngineResult, commit_scores


def run_local(
    store: Store,
    scorer: Scorer,
    plan: Plan,
    commit: CommitSettings,
    *,
    progress: Progress,
    stop: Callable[[], bool],
) -> EngineResult:
    """Score what the plan left pending; return early, with all committed, when `stop()` is true."""
    total = EngineResult(batching=scorer.batching)
    with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as background:
        chunks = pending_chunks(store, scorer.chunk)
        for start, tokenized in _tokenized_ahead(chunks, scorer, background):
            for group in _timed_groups(scorer.score_tokenized(tokenized), commit, stop):
                positions = start + np.concatenate([batch.positions for batch in group])
                commit_scores(store, positions, group, commit, total)
                progress("score", total.headlines + total.invalid, plan.pending)
            if stop():
                break
    return total


def _tokenized_ahead(
    chunks: Iterator[tuple[int, pa.ChunkedArray]], scorer: Scorer, background: Executor
) -> Iterator[tuple[int, Tokenized]]:
    """Yield each chunk's start and tokens, while the next one's are made in the background.

    The store is read in this thread only.
    """
    ahead: tuple[int, Future[Tokenized]] | None = None
    for start, headlines in chunks:
        begun = background.submit(scorer.tokenize, headlines.to_pylist())
        if ahead is not None:
            yield ahead[0], ahead[1].result()
        ahead = start, begun
    if ahead is not None:
        yield ahead[0], ahead[1].result()


def _timed_groups(
    batches: Iterator[ScoredBatch], commit: CommitSettings, stop: Callable[[], bool]
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
