"""The Ray engine: the scorer as a pool of actors, which this process feeds and empties.

Planning has sorted the headlines, longest first; a block is a run of neighbours, so
that an actor's batches are of one length class. Blocks are large at first and
small at the end, where an actor would otherwise hold the others up (guided
self-scheduling, Polychronopoulos and Kuck 1987).
"""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ...config import ScoreConfig
from ...errors import FinsentError, UnavailableError
from ...failpoints import failpoint
from ...progress import Progress
from ...store.store import Store
from ..plan import Plan, pending_headlines
from .base import CommitSettings, EngineResult, commit_scores
from .local import CHUNK_HEADLINES
from .ray_actor import ActorConfig, BlockResult, ScoringActor, block_table
from .ray_cluster import connected
from .ray_results import ResultReader

SMALLEST_BLOCK = 128
# A block is at most this part of an actor's share of what is left.
_PARTS = 4
# A block whose actor died is given to another so often; then it is taken for the reason.
_RETRIES = 3


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

    Returns early, with all committed that has arrived, when `stop()` is true. A block
    that arrives twice, because its actor died in between, is committed once.

    Raises:
        UnavailableError: Ray is not here or has no room, a node cannot load the model,
            or an actor dies again and again. What was committed is kept.
    """
    total, actors = EngineResult(), set[str]()
    begun = time.monotonic()
    with connected(config, assignment.model.device) as cluster:
        blocks = dict(block_sizes(plan.pending, cluster.room))
        try:
            dataset = _dataset(_Blocks(store, blocks, stop), assignment, cluster.room)
        except _StoppedError:
            return total
        with ResultReader(dataset) as reader:
            for group in _timed_groups(reader.reports(stop), commit):
                fresh = [report for report in group if blocks.pop(report.start, 0)]
                if not actors:
                    total.load_seconds = max(0.0, group[0].ready_at - begun)
                actors |= {report.actor for report in group}
                _commit_reports(store, fresh, commit, total)
                progress("score", total.headlines + total.invalid, plan.pending)
        if blocks and not stop():
            raise UnavailableError("Ray ended early: run the same command to continue")
    total.actors = min(len(actors), cluster.room)  # one that was started again is one
    return total


def block_sizes(pending: int, actors: int) -> Iterator[tuple[int, int]]:
    """Yield where each block starts and how many headlines it has, large blocks first."""
    start = 0
    while start < pending:
        share = -(-(pending - start) // (_PARTS * actors))
        count = min(pending - start, CHUNK_HEADLINES, max(SMALLEST_BLOCK, share))
        yield start, count
        start += count


class _StoppedError(Exception):
    """A stop was asked for before anything was scored."""


class _Blocks:
    """The pending headlines as blocks for actors, read from the store each time they are asked for.

    Raises:
        _StoppedError: while they are gone through, when `stop()` is true.
    """

    def __init__(self, store: Store, sizes: dict[int, int], stop: Callable[[], bool]) -> None:
        self._store = store
        self._sizes = sizes
        self._stop = stop

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[pa.Table]:
        for start, count in self._sizes.items():
            if self._stop():
                raise _StoppedError
            headlines = pending_headlines(self._store, start, count)
            yield block_table(start, headlines.combine_chunks())


def _dataset(blocks: _Blocks, assignment: ActorConfig, actors: int) -> Any:
    """Return the Ray dataset of `BlockResult` rows; nothing runs until it is read."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    pool = ray.data.ActorPoolStrategy(
        # The run begins with the first that is ready, and goes on with whichever are left.
        size=min(actors, len(blocks)),
        # One block is scored, the next is tokenized, none waits behind them.
        max_concurrent_calls_per_actor=2,
        max_tasks_in_flight_per_actor=2,
        enable_true_multi_threading=True,
    )
    with warnings.catch_warnings():
        # max_task_retries is to get another name in Ray 2.64, which pyproject.toml excludes.
        warnings.simplefilter("ignore")
        # from_arrow_refs would have the cluster's CPUs look at each block, and wait for them.
        return ray.data.from_blocks(blocks).map_batches(
            ScoringActor,
            fn_constructor_args=(assignment,),
            batch_size=1,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=assignment.cores,
            num_gpus=1 if assignment.model.device == "cuda" else 0,
            max_task_retries=_RETRIES,
        )


def _timed_groups(
    reports: Iterator[BlockResult | None], commit: CommitSettings
) -> Iterator[list[BlockResult]]:
    """Gather reports until it is time to commit them; an error comes after what it left."""
    group: list[BlockResult] = []
    since = time.monotonic()
    failure: FinsentError | None = None
    try:
        for report in reports:
            if report is not None:
                group.append(report)
                failpoint("batch")
            if group and time.monotonic() - since >= commit.every_seconds:
                yield group
                group, since = [], time.monotonic()
    except FinsentError as error:
        failure = error
    if group:
        yield group
    if failure is not None:
        raise failure


def _commit_reports(
    store: Store, reports: list[BlockResult], commit: CommitSettings, total: EngineResult
) -> None:
    group = [report.scored for report in reports if report.scored is not None]
    if not group:
        return
    positions = np.concatenate(
        [report.start + scored.positions for report, scored in zip(reports, group, strict=True)]
    )
    commit_scores(store, positions, group, commit, total)
    total.batching = reports[-1].batching
    vram = max(report.vram_mb for report in reports)
    total.peak_vram_mb = max(vram, total.peak_vram_mb or 0.0) or None
