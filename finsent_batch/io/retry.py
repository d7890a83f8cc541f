"""Retry while another process holds a file: a locked store, a table file being read."""

import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import TryAgainError

T = TypeVar("T")
# Short enough to be on time, long enough to cost nothing.
_PAUSE_SECONDS = 0.2


def retried(
    attempt: Callable[[], T],
    seconds: float,
    *,
    told: Callable[[TryAgainError], None],
    waiting: Callable[[], None],
) -> T:
    """Return what `attempt` gives, trying again while it raises TryAgainError.

    `told` is called with the first such error if there is time to wait, `waiting`
    before each further attempt; either may raise.

    Raises:
        TryAgainError: the last one, after `seconds`.
    """
    deadline = time.monotonic() + seconds
    first = True
    while True:
        try:
            return attempt()
        except TryAgainError as error:
            if time.monotonic() >= deadline:
                raise
            if first:
                told(error)
        first = False
        waiting()
        time.sleep(min(_PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))
