"""Progress callbacks and stop requests of long work."""

import signal
from typing import Protocol

from .errors import InterruptedRunError


class Progress(Protocol):
    """Called with a stage, the amount done and the total (None when unknown).

    A stage ends where the next one begins.

    `note` says how it goes, such as training's loss; only training gives one.
    """

    def __call__(self, stage: str, done: int, total: int | None, /, note: str = "") -> None: ...


class StopRequest:
    """A stop request, set by a signal handler and checked between batches."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def check(self) -> None:
        """Raise InterruptedRunError if a stop was asked for."""
        if self():
            raise self.error()

    def error(self) -> InterruptedRunError:
        """Return the error that ends a stopped run: exit code 128 + the signal's number.

        A process that was not signalled itself ends as one that was asked to end.
        """
        return InterruptedRunError(
            "stopped on request; what was scored is kept, run the same command to continue",
            exit_code=128 + (self.signal or signal.SIGTERM),
        )


def no_progress(stage: str, done: int, total: int | None, note: str = "") -> None:
    """Show nothing."""
