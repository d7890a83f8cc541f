"""The provenance of files that have no room for it, such as CSV, kept in the store."""

import json
import os
from pathlib import Path

from ..io.provenance import Provenance
from .store import Store


class StoredProvenance:
    """A `FileProvenance` that is a table of the store.

    A file is known by its size and the time of its last change. They are noted
    before it gets its name: a run that is killed there leaves a note too many,
    never one too few.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, file: Path) -> Provenance | None:
        """Return the provenance of a file that nobody has changed since it was noted."""
        if not file.exists():
            return None
        status = file.stat()
        rows = self._store.query(
            "SELECT mark FROM file_marks WHERE path = ? AND size = ? AND mtime_ns = ?",
            [str(file), status.st_size, status.st_mtime_ns],
        )
        return Provenance.from_json(json.loads(rows[0][0])) if rows else None

    def note(self, file: Path, coming: os.stat_result, provenance: Provenance) -> None:
        """Note the provenance of what is about to become `file`, beside that of what it is now."""
        now = file.stat() if file.exists() else coming
        with self._store.transaction() as connection:
            connection.execute(
                "DELETE FROM file_marks WHERE path = ? AND (size, mtime_ns) <> (?, ?)",
                [str(file), now.st_size, now.st_mtime_ns],
            )
            content = json.dumps(provenance.to_json())
            connection.execute(
                "INSERT INTO file_marks VALUES (?, ?, ?, ?)",
                [str(file), coming.st_size, coming.st_mtime_ns, content],
            )
