"""Provenance: what an output says of its making, so that the same command may replace its own."""

import os
from pathlib import Path
from typing import Any, Protocol

MARK_KEY = "finsent_batch"
Mark = dict[str, Any]
"""At least `input`, `input_table`, `run_id`."""


class FileProvenance(Protocol):
    """Where the marks of files that have no room for one are kept."""

    def find(self, file: Path) -> Mark | None:
        """Return the mark of a file that nobody has changed since it was noted."""
        ...

    def note(self, file: Path, coming: os.stat_result, mark: Mark) -> None:
        """Note the mark of what is about to become `file`."""
        ...
