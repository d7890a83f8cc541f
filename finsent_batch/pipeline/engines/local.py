"""The engine of one process: score here, committing to the store as it goes.

Three things happen at once, so that a GPU does not wait for a commit: this thread scores, one
tokenizes the next chunk of headlines, and one reads the store and commits to it. No other thread
uses the store meanwhile, and a few groups of scores may wait for it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial

import numpy as np

from ...failpoints import failpoint
from ...progress import Progress
from ...scorers.base import CHUNK, ScoredBatch, Scorer, Tokenized
from ...store.store import Store
from ..plan import Plan, pending_headlines
from .base import ENOUGH, Commits, CommitSettings, EngineResult, commit_scores

_AHEAD = 2


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

    def put(positions: np.ndarray, group: list[ScoredBatch]) -> None:
        commit_scores(store, positions, group, commit, total)

    def told() -> None:
        progress("score", total.headlines + total.invalid, plan.pending)

    with (
        ThreadPoolExecutor(1, thread_name_prefix="store") as storing,
        ThreadPoolExecutor(1, thread_name_prefix="tokenize") as tokenizing,
    ):
        commits = Commits(storing, told)
        for start, tokenized in _tokenized_ahead(store, scorer, storing, tokenizing):
            for group in _timed_groups(scorer.score_tokenized(tokenized), commit, stop):
                positions = start + np.concatenate([batch.positions for batch in group])
                commits.add(partial(put, positions, group))
            if stop():
                break
        commits.settle(0)
    return total


def _tokenized_ahead(
    store: Store, scorer: Scorer, storing: Executor, tokenizing: Executor
) -> Iterator[tuple[int, Tokenized]]:
    """Yield each chunk's start and tokens, while the next one's are made in the background.

    Headlines come longest first; small chunks lead, so that a fast scorer soon has something to do.
    """

    def headlines(start: int, size: int) -> list[str]:
        texts: list[str] = pending_headlines(store, start, size).to_pylist()
        return texts

    def tokens(read: Future[list[str]]) -> Tokenized | None:
        texts = read.result()
        return scorer.tokenize(texts) if texts else None

    begun: deque[tuple[int, Future[Tokenized | None]]] = deque()
    start = 0
    while True:
        # Two ahead: a commit that is under way holds up the reading of the second only.
        while len(begun) <= _AHEAD:
            size = min(CHUNK, scorer.chunk) if start < scorer.chunk else scorer.chunk
            read = storing.submit(headlines, start, size)
            begun.append((start, tokenizing.submit(tokens, read)))
            start += size
        at, coming = begun.popleft()
        tokenized = coming.result()
        if tokenized is None:  # behind the last headline
            return
        yield at, tokenized


def _timed_groups(
    batches: Iterator[ScoredBatch], commit: CommitSettings, stop: Callable[[], bool]
) -> Iterator[list[ScoredBatch]]:
    """Gather batches until it is time to commit them."""
    group: list[ScoredBatch] = []
    size, since = 0, time.monotonic()
    for batch in batches:
        group.append(batch)
        size += len(batch.positions)
        failpoint("batch")
        if stop():
            break
        if size >= ENOUGH or time.monotonic() - since >= commit.every_seconds:
            yield group
            group, size, since = [], 0, time.monotonic()
    if group:
        yield group
