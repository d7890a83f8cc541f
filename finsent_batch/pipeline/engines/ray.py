"""The Ray engine: the scorer as a pool of actors, which this process feeds and empties.

Planning has sorted the headlines, longest first; a block is a run of neighbours, so
that an actor's batches are of one length class. Blocks are large at first and
small at the end, where an actor would otherwise hold the others up (guided
self-scheduling, Polychronopoulos and Kuck 1987). A few are read from the plan ahead of the
actors: neither this process nor Ray ever holds all headlines.

One thread reads the store and commits to it, so that actors are fed while scores are committed. No
other thread uses the store meanwhile, and a few groups of scores may wait for it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa

from ...config import ScoreConfig
from ...errors import FinsentError
from ...failpoints import failpoint
from ...progress import Progress
from ...scorers.base import CHUNK, ScoredBatch
from ...scorers.load import chunk_of
from ...store.store import Store
from ..plan import Plan, pending_headlines
from .base import ENOUGH, Commits, CommitSettings, EngineResult, commit_scores
from .ray_actor import ActorConfig, BlockResult
from .ray_cluster import BLOCK_BYTES, connected
from .ray_pool import BLOCKS_PER_ACTOR, ActorPool

SMALLEST_BLOCK = 128
# A block is at most this part of an actor's share of what is left.
_PARTS = 4


def run_ray(
    store: Store,
    assignment: ActorConfig,
    plan: Plan,
    commit: CommitSettings,
    config: ScoreConfig,
    *,
    progress: Progress,
    stop: Callable[[], bool],
) -> EngineResult:
    """Score what the plan left pending on Ray's actors, committing what they give as it comes.

    Returns early, with all committed that has arrived, when `stop()` is true.

    Raises:
        UnavailableError: Ray is not here or has no room, a node cannot load the model,
            or an actor dies again and again. What was committed is kept.
    """
    total, names = EngineResult(), set[str]()
    begun = time.monotonic()

    def told() -> None:
        progress("score", total.headlines + total.invalid, plan.pending)

    with connected(config, assignment.model.device) as cluster:
        assignment = replace(assignment, expected=plan.pending // cluster.room)
        with (
            ActorPool(assignment, cluster.room) as pool,
            ThreadPoolExecutor(1, thread_name_prefix="store") as storing,
        ):
            blocks = _blocks(store, plan.pending, cluster.room, chunk_of(assignment.model))
            ahead = BLOCKS_PER_ACTOR * cluster.room
            results = pool.results(_read_ahead(blocks, storing, ahead), stop)
            commits = Commits(storing, told)
            for group in _timed_groups(results, commit):
                total.load_seconds = (pool.ready_at or begun) - begun
                names |= {result.actor for result in group}
                commits.add(partial(_commit_results, store, group, commit, total))
            commits.settle(0)
    total.actors = min(len(names), cluster.room)  # one that was started again is one
    return total


def _read_ahead(
    blocks: Iterator[tuple[int, pa.Array]], storing: Executor, ahead: int
) -> Iterator[tuple[int, pa.Array]]:
    """Yield the same blocks, read in the thread of the store.

    So many are read before an actor asks: commits that are under way hold up the others.
    """
    begun: deque[Future[tuple[int, pa.Array] | None]] = deque()
    while True:
        while len(begun) <= ahead:
            begun.append(storing.submit(next, blocks, None))
        block = begun.popleft().result()
        if block is None:
            return
        yield block


def _blocks(store: Store, pending: int, actors: int, chunk: int) -> Iterator[tuple[int, pa.Array]]:
    """Read the headlines to score block by block, each with the position of its first."""
    start = 0
    while start < pending:
        # The block's first, as they are sorted.
        sql = "SELECT strlen(headline) FROM plan.pending WHERE position = ?"
        longest = store.query(sql, [start])[0][0]
        count = block_size(pending - start, actors, longest, chunk)
        yield start, pending_headlines(store, start, count).combine_chunks()
        start += count


def block_size(left: int, actors: int, longest: int, chunk: int = CHUNK) -> int:
    """Return how many of the headlines that are left go into the next block.

    `longest` is the length of the longest in bytes: a block of several has at most `BLOCK_BYTES`
    for each `CHUNK` in `chunk`, which is the most headlines of a block.
    """
    share = -(-left // (_PARTS * actors))
    fitting = max(1, BLOCK_BYTES * (chunk // CHUNK) // max(1, longest))
    return min(left, chunk, max(SMALLEST_BLOCK, share), fitting)


def _timed_groups(
    results: Iterator[BlockResult | None], commit: CommitSettings
) -> Iterator[list[BlockResult]]:
    """Gather results until it is time to commit them; an error comes after what it left."""
    group: list[BlockResult] = []
    size = 0
    since = time.monotonic()
    failure: FinsentError | None = None
    try:
        for result in results:
            if result is not None:
                group.append(result)
                size += len(result.truncated)
                failpoint("batch")
            due = time.monotonic() - since >= commit.every_seconds or size >= ENOUGH
            if group and due:
                yield group
                group, size, since = [], 0, time.monotonic()
    except FinsentError as error:
        failure = error
    if group:
        yield group
    if failure is not None:
        raise failure


def _commit_results(
    store: Store, results: list[BlockResult], commit: CommitSettings, total: EngineResult
) -> None:
    group = [
        ScoredBatch(
            positions=result.start + np.arange(len(result.truncated), dtype=np.int64),
            probabilities=result.probabilities,
            truncated=result.truncated,
            tokens=result.tokens,
        )
        for result in results
    ]
    positions = np.concatenate([batch.positions for batch in group])
    commit_scores(store, positions, group, commit, total)
    total.batching = results[-1].batching
    margins = [result.near_tie for result in results] + [total.near_tie]
    total.near_tie = max((m for m in margins if m is not None), default=None)
    vram = max(result.vram_mb for result in results)
    total.peak_vram_mb = max(vram, total.peak_vram_mb or 0.0) or None
