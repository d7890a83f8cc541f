"""The Ray engine: the scorer as a pool of actors, which this process feeds and empties.

Planning has sorted the headlines, longest first; a block is a run of neighbours, so
that an actor's batches are of one length class. Blocks are large at first and
small at the end, where an actor would otherwise hold the others up (guided
self-scheduling, Polychronopoulos and Kuck 1987).
"""

import logging
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Self

import pyarrow as pa

from .config import ScoreConfig
from .engines import CHUNK_HEADLINES, Commit, Scored, commit_scores
from .errors import FinsentError, UnavailableError
from .failpoints import failpoint
from .planning import Plan, Progress, pending_rows
from .ray_actor import Assignment, Report, ScoringActor, block_table, reports_of
from .ray_cluster import connected
from .store import Store, first_line

logger = logging.getLogger(__name__)

SMALLEST_BLOCK = 128
# A block is at most this part of an actor's share of what is left.
_PARTS = 4
# How often a stop is looked for while nothing arrives, and when a silence is explained.
_POLL_SECONDS = 0.2
_SILENCE_SECONDS = 60.0
# How long leaving may wait for Ray's threads.
_LEAVE_SECONDS = 10.0
# A block whose actor died is given to another so often; then it is taken for the reason.
_RETRIES = 3


def run_ray(
    store: Store,
    assignment: Assignment,
    plan: Plan,
    commit: Commit,
    config: ScoreConfig,
    *,
    progress: Progress,
    stop: Callable[[], bool],
) -> Scored:
    """Score what the plan left pending on Ray's actors, committing what they give as it comes.

    Returns early, with all committed that has arrived, when `stop()` is true. A block
    that arrives twice, because its actor died in between, is committed once.

    Raises:
        UnavailableError: Ray is not here or has no room, a node cannot load the model,
            or an actor dies again and again. What was committed is kept.
    """
    total, actors = Scored(), set[str]()
    begun = time.monotonic()
    with connected(config, assignment.device) as cluster:
        blocks = dict(block_sizes(plan.pending, cluster.room))
        with _Reader(_dataset(store, blocks, assignment, cluster.room)) as reader:
            for group in _timed_groups(reader.reports(stop), commit):
                fresh = [report for report in group if blocks.pop(report.start, 0)]
                if not actors:
                    total.load_seconds = max(0.0, group[0].ready_at - begun)
                actors |= {report.actor for report in group}
                _commit_reports(store, fresh, commit, total)
                progress("score", total.headlines + total.invalid, plan.pending)
        if blocks and not stop():
            raise UnavailableError("Ray ended early: run the same command to go on")
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


def _dataset(store: Store, blocks: dict[int, int], assignment: Assignment, actors: int) -> Any:
    """Return the Ray dataset of `Report` rows; nothing runs until it is read."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    put: Any = [
        ray.put(block_table(start, pending_rows(store, start, count)["headline"].combine_chunks()))
        for start, count in blocks.items()
    ]
    pool = ray.data.ActorPoolStrategy(
        # The run begins with the first that is ready, and goes on with whichever are left.
        size=min(actors, len(blocks)),
        # One block is scored, the next is tokenised, none waits behind them.
        max_concurrent_calls_per_actor=2,
        max_tasks_in_flight_per_actor=2,
        enable_true_multi_threading=True,
    )
    with warnings.catch_warnings():
        # max_task_retries is to get another name in Ray 2.64, which pyproject.toml excludes.
        warnings.simplefilter("ignore")
        return ray.data.from_arrow_refs(put).map_batches(
            ScoringActor,
            fn_constructor_args=(assignment,),
            batch_size=1,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=assignment.cores,
            num_gpus=1 if assignment.device == "cuda" else 0,
            max_task_retries=_RETRIES,
        )


class _Reader:
    """Reads what a dataset yields in a thread of its own, so that a stop need not wait for it.

    As a context manager inside of the connection to Ray: none of Ray Data's threads may
    ask Ray for something while it is left, as that can take the process with it.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._arrived: queue.Queue[Report | Exception | None] = queue.Queue()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._read, name="ray-results", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        deadline = time.monotonic() + _LEAVE_SECONDS
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._end_execution()
            self._thread.join(_POLL_SECONDS)

    def _end_execution(self) -> None:
        """Kill the dataset's actors; the reading then ends as if all had come.

        Ray Data ends an execution when its reader leaves, but has no public call for one
        whose reader waits for a block. The execution is a thread, named after the dataset.
        """
        name = f"StreamingExecutor-{self._dataset.get_dataset_id()}"
        for thread in threading.enumerate():
            end = getattr(thread, "shutdown", None)
            if thread.name == name and end is not None:
                end(force=True)
                thread.join(_LEAVE_SECONDS)

    def reports(self, stop: Callable[[], bool]) -> Iterator[Report | None]:
        """Yield reports as they come, and None every now and then in between, until `stop()`.

        Raises:
            UnavailableError: an actor reports a failure, or Ray gives up.
        """
        silent_since: float | None = time.monotonic()
        while not stop():
            try:
                found = self._arrived.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if silent_since and time.monotonic() - silent_since > _SILENCE_SECONDS:
                    logger.warning("no actor has answered yet: a model is loading, or Ray is busy")
                    silent_since = None
                yield None
                continue
            silent_since = None
            if found is None:
                return
            if isinstance(found, Exception):
                raise _as_unavailable(found) from found
            if found.failure:
                raise UnavailableError(found.failure)
            yield found

    def _read(self) -> None:
        import ray

        try:
            # Not iter_batches: its threads fetch ahead and outlive the reading.
            for bundle in self._dataset.iter_internal_ref_bundles():
                for table in ray.get(bundle.block_refs):
                    for report in reports_of(table):
                        self._arrived.put(report)
                if self._left.is_set():
                    return
            self._arrived.put(None)
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits for it
            self._arrived.put(error)


def _timed_groups(reports: Iterator[Report | None], commit: Commit) -> Iterator[list[Report]]:
    """Gather reports until it is time to commit them; an error comes after what it left."""
    group: list[Report] = []
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


def _commit_reports(store: Store, reports: list[Report], commit: Commit, total: Scored) -> None:
    group = [report.scored for report in reports if report.scored is not None]
    if not group:
        return
    rows = pa.concat_tables(
        pending_rows(store, report.start, len(scored.probabilities))
        for report, scored in zip(reports, group, strict=True)
    )
    commit_scores(store, rows, group, commit, total)
    total.path = reports[-1].path
    vram = max(report.vram_mb for report in reports)
    total.peak_vram_mb = max(vram, total.peak_vram_mb or 0.0) or None


def _as_unavailable(error: Exception) -> Exception:
    """Return what went wrong on Ray as one line; the whole of it is this error's cause."""
    import ray

    if not isinstance(error, ray.exceptions.RayError | ray.data.exceptions.SystemException):
        return error
    root: BaseException = error
    while (deeper := getattr(root, "cause", None) or root.__cause__) is not None:
        root = deeper
    return UnavailableError(
        f"scoring on Ray failed ({type(root).__name__}: {first_line(root)}): what was committed is "
        "kept, run the same command to go on"
    )
