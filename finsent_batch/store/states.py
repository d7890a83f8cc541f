"""How a working store and the file under the snapshot's name belong together.

The one row of the table `snapshot` says it in both:

| column | meaning |
|---|---|
| `state` | a name for the store's contents, new whenever a command begins to write |
| `published` | the state of the snapshot that was published last |
| `size`, `mtime_ns` | of that snapshot's file, which is then known again without opening it |

A state that is not the published one has never been put under the name, as after a kill.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb


@dataclass(frozen=True)
class Identity:
    """By what a file is known again without being opened."""

    size: int
    mtime_ns: int


def identity_of(file: Path) -> Identity | None:
    """Return a file's identity; None where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return Identity(found.st_size, found.st_mtime_ns)


def log_of(file: Path) -> Path:
    """Return where DuckDB keeps a file's write-ahead log."""
    return file.with_name(file.name + ".wal")


@dataclass(frozen=True)
class Record:
    """The row of the table `snapshot`."""

    state: str
    published: str | None = None
    file: Identity | None = None

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection) -> "Record | None":
        """Return a store's record; None where it has none yet."""
        rows = connection.execute("SELECT state, published, size, mtime_ns FROM snapshot")
        for state, published, size, mtime_ns in rows.fetchall():
            return cls(state, published, None if size is None else Identity(size, mtime_ns))
        return None

    def write(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make it the store's record."""
        size, mtime_ns = (self.file.size, self.file.mtime_ns) if self.file else (None, None)
        connection.begin()
        connection.execute("DELETE FROM snapshot")
        connection.execute(
            "INSERT INTO snapshot VALUES (?, ?, ?, ?)",
            [self.state, self.published, size, mtime_ns],
        )
        connection.commit()


def new_state(connection: duckdb.DuckDBPyConnection) -> str:
    """Return a name for a store's contents that no other has had."""
    [(state,)] = connection.execute("SELECT uuidv7()::VARCHAR").fetchall()
    return str(state)
