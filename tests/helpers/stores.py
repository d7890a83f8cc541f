"""The files of a store: what people read, and what a run in progress or killed has committed."""

from pathlib import Path

from finsent_batch.io.paths import working_of

FILES = {"finsent.duckdb", "finsent.duckdb.working"}
"""The names of the default store's files between two commands."""


def committed(store: Path) -> Path:
    """Return the file that holds all that was committed, in a killed run too."""
    working = working_of(store)
    return working if working.exists() else store


def remove_store(store: Path) -> None:
    """Remove a store, so that the next run begins anew."""
    for file in (store, working_of(store), working_of(store).with_suffix(".working.wal")):
        file.unlink(missing_ok=True)
