"""A pool of Ray actors that score blocks of headlines: a few blocks each, the dead replaced.

All of it happens in the thread that asks for results. An actor holds the block that it scores and
the next one; another block is put into Ray's object store only where a result has come back, so
that what lies there is bounded by the actors, however many headlines there are.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from ...errors import UnavailableError, first_line
from .ray_actor import ActorConfig, ActorFailure, BlockResult, ScoringActor

logger = logging.getLogger(__name__)

# One block is scored, the next is tokenized, none waits behind them.
BLOCKS_PER_ACTOR = 2
# A block whose actor died is given to another so often; then it is taken for the reason. So is
# the model where actors die while they load it.
_RETRIES = 3
# How often a stop is looked for while nothing arrives, and when a silence is explained.
_POLL_SECONDS = 0.2
_SILENCE_SECONDS = 60.0


@dataclass(eq=False)
class _Block:
    start: int
    headlines: Any
    """A reference to them; they are in Ray's object store as long as it lives."""
    deaths: int = 0


@dataclass(eq=False)
class _Worker:
    actor: Any
    deaths: int
    """How many actors before it, in its place, died as they loaded the model."""
    ready: bool = False
    blocks: int = 0
    """How many it has."""


class ActorPool:
    """Actors that score blocks, each as soon as it has its model; a context manager.

    Must be left before the connection to Ray is: leaving kills the actors.
    """

    def __init__(self, assignment: ActorConfig, actors: int) -> None:
        self._assignment = assignment
        self._size = actors
        self._actor_class: Any = None
        self._workers: list[_Worker] = []
        self._calls: dict[Any, tuple[_Worker, _Block | None]] = {}
        """What each unfinished call is about; no block: the actor loads its model."""
        self._again = deque[_Block]()
        self._fed = False
        """Whether there was no block left to give."""
        self.ready_at: float | None = None
        """When the first actor had its model, by the monotonic clock."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            _kill(worker)

    def results(
        self, blocks: Iterator[tuple[int, pa.Array]], stop: Callable[[], bool]
    ) -> Iterator[BlockResult | None]:
        """Yield the results of blocks as they come, each block's once, until `stop()`.

        `blocks` gives the position of each block's first headline and its headlines; it is asked
        for one only when there is an actor to take it. Yields None every now and then.

        Raises:
            TryAgainError: an actor finds that the model has changed.
            UnavailableError: an actor cannot load the model or score, or actors die again and
                again, or Ray gives up.
            RuntimeError: a bug on an actor.
        """
        import ray

        self._actor_class = ray.remote(ScoringActor).options(
            num_cpus=self._assignment.cores,
            num_gpus=1 if self._assignment.model.device == "cuda" else 0,
            max_concurrency=BLOCKS_PER_ACTOR,
            scheduling_strategy="SPREAD",
        )
        try:
            for _ in range(self._size):
                self._start()
            yield from self._results(blocks, stop)
        except ray.exceptions.RayError as error:
            raise _as_unavailable(error) from error

    def _results(
        self, blocks: Iterator[tuple[int, pa.Array]], stop: Callable[[], bool]
    ) -> Iterator[BlockResult | None]:
        import ray

        silent_since: float | None = time.monotonic()
        while not stop():
            self._feed(blocks)
            if self._fed and not any(block for _, block in self._calls.values()):
                return
            done, _ = ray.wait(list(self._calls), timeout=_POLL_SECONDS)
            for call in done:
                silent_since = None
                yield self._finish(call)
            if silent_since and time.monotonic() - silent_since > _SILENCE_SECONDS:
                logger.warning("no actor has answered yet: a model is loading, or Ray is busy")
                silent_since = None
            if not done:
                yield None

    def _start(self, deaths: int = 0) -> None:
        """Ask Ray for an actor; it comes when there is room for it, which may be never."""
        worker = _Worker(self._actor_class.remote(self._assignment), deaths)
        self._workers.append(worker)
        self._calls[worker.actor.ready.remote()] = worker, None

    def _feed(self, blocks: Iterator[tuple[int, pa.Array]]) -> None:
        """Give each actor that is ready its blocks, those first that have the fewest."""
        self._fed = False
        for held in range(BLOCKS_PER_ACTOR):
            for worker in self._workers:
                if not worker.ready or worker.blocks > held:
                    continue
                block = self._next_block(blocks)
                if block is None:
                    self._fed = True
                    return
                call = worker.actor.score.remote(block.start, block.headlines)
                self._calls[call] = worker, block
                worker.blocks += 1

    def _next_block(self, blocks: Iterator[tuple[int, pa.Array]]) -> _Block | None:
        import ray

        if self._again:
            return self._again.popleft()
        found = next(blocks, None)
        return None if found is None else _Block(found[0], ray.put(found[1]))

    def _finish(self, call: Any) -> BlockResult | None:
        """Take what a call gave, and note what its actor may do next.

        Its block's headlines leave the object store here, unless the actor is lost.
        """
        import ray

        worker, block = self._calls.pop(call)
        try:
            found = ray.get(call)
        except _lost() as error:
            if worker in self._workers:
                self._replace(worker, error)
            if block is not None:
                block.deaths += 1
                if block.deaths > _RETRIES:
                    raise
                self._again.append(block)
            return None
        if isinstance(found, ActorFailure):
            raise found.error()
        if block is None:
            worker.ready = True
            self.ready_at = self.ready_at or time.monotonic()
            return None
        worker.blocks -= 1
        return found  # type: ignore[no-any-return]

    def _replace(self, worker: _Worker, error: Exception) -> None:
        """Start another actor in a lost one's place, unless actors die there as they load."""
        logger.debug("an actor is lost: %s", first_line(error))
        self._workers.remove(worker)
        _kill(worker)  # it may only be out of reach
        deaths = 0 if worker.ready else worker.deaths + 1
        if deaths <= _RETRIES:
            self._start(deaths)
        elif not self._workers:
            raise error


def _kill(worker: _Worker) -> None:
    import ray

    with suppress(ray.exceptions.RayError, ValueError):
        ray.kill(worker.actor)


def _lost() -> tuple[type[Exception], ...]:
    """Return what Ray raises for a call whose actor, node or result is gone."""
    from ray import exceptions

    return (
        exceptions.RayActorError,
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.OutOfMemoryError,
        exceptions.ObjectLostError,
    )


def _as_unavailable(error: Exception) -> UnavailableError:
    """Return what went wrong on Ray as one line; the whole of it is this error's cause."""
    root: BaseException = error
    while (deeper := getattr(root, "cause", None) or root.__cause__) is not None:
        root = deeper
    return UnavailableError(
        f"scoring on Ray failed ({type(root).__name__}: {first_line(root)}): what was committed is "
        "kept, run the same command to continue"
    )
