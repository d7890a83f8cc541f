"""How many cases a property test tries: some, the same each time, or with `make fuzz` others."""

import os

TIMES = int(os.environ.get("FUZZ", "0"))
"""How many times as many cases `make fuzz` tries; 0 where the cases are always the same."""


def examples(count: int) -> int:
    """Return the number of cases of a property test that tries `count` in `make test`."""
    return count * max(TIMES, 1)
