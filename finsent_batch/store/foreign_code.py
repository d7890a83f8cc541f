"""Refuse a store in which somebody keeps SQL that would act within ours.

Looking through a store takes DuckDB 30 ms, as it lists all of its own functions. A file in which
this process has found nothing, or that it has written itself since, is not looked through again
as long as it is that file, untouched.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import duckdb

from ..errors import ConfigError
from ..io.sql import quote_identifier
from ..io.whole.watched import state_of
from .connection import STORE_CATALOG
from .states import log_of

_State = tuple[tuple[int, ...], tuple[int, ...] | None]
_CLEAN: Final[dict[Path, _State]] = {}
"""Files in which nothing was found, as they and their logs then were."""
_SHADOWING: Final = """SELECT function_name FROM duckdb_functions() GROUP BY function_name
    HAVING bool_or(database_name = $1) AND bool_or(database_name <> $1)
    ORDER BY function_name"""
_TRIGGERS: Final = "SELECT trigger_name, table_name FROM duckdb_triggers() WHERE database_name = $1"


@dataclass(frozen=True)
class SeenFile:
    """A store's file as it was before it was attached."""

    path: Path
    state: _State | None

    @classmethod
    def of(cls, path: Path) -> Self:
        """Look at a file and its log."""
        try:
            state = state_of(path.stat())
            with suppress(FileNotFoundError):
                return cls(path, (state, state_of(log_of(path).stat())))
        except OSError:  # which DuckDB then meets itself
            return cls(path, None)
        return cls(path, (state, None))

    def is_clean(self) -> bool:
        """Return whether nothing was found in it, and it is what was attached."""
        return self.state is not None and _CLEAN.get(self.path) == self.state == self._now()

    def note_clean(self) -> None:
        """Note that nothing was found in it, if it is what was attached."""
        if self.state is not None and self.state == self._now():
            _CLEAN[self.path] = self.state

    def note_own(self) -> None:
        """Note that nobody but this process has written it since, if it is what was attached."""
        now = self._now()
        if now is not None and self.is_still(now[0]):
            _CLEAN[self.path] = now

    def is_still(self, state: tuple[int, ...]) -> bool:
        """Return whether a `state_of` is of this very file, however often it was written since."""
        return self.state is not None and self.state[0][:2] == state[:2]  # device and inode

    def _now(self) -> _State | None:
        return self.of(self.path).state


def check_no_foreign_code(
    connection: duckdb.DuckDBPyConnection, path: Path, file: SeenFile
) -> None:
    """Refuse macros of the store named like functions of DuckDB, which they hide, and triggers.

    `file` is what was attached. DuckDB's lock keeps other writers away from it meanwhile.

    Raises:
        ConfigError: there are some; the message names one and how to remove it.
    """
    if file.is_clean():
        return
    # Looked up here alone, DuckDB's own functions cannot be hidden from the question itself.
    connection.execute("SET search_path = 'system.main'")
    try:
        macros = [name for (name,) in connection.execute(_SHADOWING, [STORE_CATALOG]).fetchall()]
        triggers = connection.execute(_TRIGGERS, [STORE_CATALOG]).fetchall()
    finally:
        connection.execute(f"USE {STORE_CATALOG}")
    if macros:
        raise ConfigError(
            f"the store {path} holds a macro {macros[0]!r} that hides DuckDB's own function: "
            f"open it in the duckdb shell, DROP MACRO {quote_identifier(macros[0])} and run again"
        )
    for name, table in triggers:
        raise ConfigError(
            f"the store {path} holds a trigger {name!r} that would change what is written: open "
            f"it in the duckdb shell, DROP TRIGGER {quote_identifier(name)} ON {table}, run again"
        )
    file.note_clean()


def note_written(file: Path, found: os.stat_result) -> None:
    """Note that a file without a log holds nothing foreign: `found` is what it was as we wrote it.

    Told by its descriptor, that is never another file that has taken its place.
    """
    _CLEAN[file] = (state_of(found), None)
