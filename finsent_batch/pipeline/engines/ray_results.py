"""Read the actors' results in a thread of its own, so that a stop need not wait for Ray."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from ...errors import InterruptedRunError, TryAgainError, UnavailableError, first_line
from .ray_actor import BlockResult, reports_of

logger = logging.getLogger(__name__)

# How often a stop is looked for while nothing arrives, and when a silence is explained.
_POLL_SECONDS = 0.2
_SILENCE_SECONDS = 60.0
# How long leaving may wait for Ray's threads.
_LEAVE_SECONDS = 10.0


class ResultReader:
    """Reads what a dataset yields in a thread of its own, so that a stop need not wait for it.

    As a context manager inside of the connection to Ray: none of Ray Data's threads may
    ask Ray for something while it is left, as that can take the process with it.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._arrived: queue.Queue[BlockResult | Exception | None] = queue.Queue()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._read, name="ray-results", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        deadline = time.monotonic() + _LEAVE_SECONDS
        hurried: InterruptedRunError | KeyboardInterrupt | None = None
        while self._thread.is_alive() and time.monotonic() < deadline:
            try:
                self._end_execution()
                self._thread.join(_POLL_SECONDS)
            except (InterruptedRunError, KeyboardInterrupt) as error:
                hurried = error  # a second signal: leaving takes seconds, and must be whole
        if hurried is not None:
            raise hurried

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

    def reports(self, stop: Callable[[], bool]) -> Iterator[BlockResult | None]:
        """Yield reports as they come, and None every now and then in between, until `stop()`.

        Raises:
            TryAgainError: an actor reports that the model has changed.
            UnavailableError: an actor reports another failure, or Ray gives up.
            RuntimeError: an actor reports a bug.
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
                raise (TryAgainError if found.again else UnavailableError)(found.failure)
            if found.bug:
                raise RuntimeError(found.bug)
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


def _as_unavailable(error: Exception) -> Exception:
    """Return what went wrong on Ray as one line; the whole of it is this error's cause."""
    import ray

    if not isinstance(error, ray.exceptions.RayError | ray.data.exceptions.SystemException):
        return error
    root: BaseException = error
    while (deeper := getattr(root, "cause", None) or root.__cause__) is not None:
        if isinstance(deeper, ray.data.exceptions.SystemException):
            break  # it says nothing but that the error was not the actors' own
        root = deeper
    return UnavailableError(
        f"scoring on Ray failed ({type(root).__name__}: {first_line(root)}): what was committed is "
        "kept, run the same command to continue"
    )
