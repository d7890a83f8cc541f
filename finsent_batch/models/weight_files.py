"""Model files: their format, and their hashes, computed once per version and kept in the store."""

import os
import time
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Final

import duckdb

from ..errors import BadDataError, MissingInputError, TryAgainError
from ..io.atomic import sha256_file
from .contents import FileState

_LARGE: Final = 8_000_000
_SETTLED_NS: Final = 2_000_000_000


def check_safetensors(file: Path) -> None:
    """Look at a weight file's header alone.

    Raises:
        BadDataError: it is not in the format that its name promises.
        MissingInputError: it is a link that leads nowhere, or this user may not read it.
    """
    from safetensors import SafetensorError, safe_open

    if not os.access(file, os.R_OK):
        with suppress(PermissionError):  # of a folder that a link leads into
            if not file.exists():
                raise MissingInputError(
                    f"{file} is a link to a file that is not there: get it again"
                )
        raise MissingInputError(f"{file} may not be read by this user: chmod +r it")
    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise BadDataError(
            f"{file} is not a complete safetensors file ({error}): get it again"
        ) from None


def integer_weights(file: Path) -> list[str]:
    """Return the names of a file's weights that are stored as integers, sorted; read its header."""
    from safetensors import safe_open

    with safe_open(file, framework="np") as opened:
        return sorted(
            name
            for name in opened.keys()  # noqa: SIM118
            if name.endswith("weight") and opened.get_slice(name).get_dtype()[0] in "IU"
        )


def share_weights(config: Path) -> None:
    """Give the weight files beside `config` its mode: safetensors lets their owner alone read them.

    A model is often trained by one user and used at night by another.
    """
    for file in config.parent.glob("*.safetensors"):
        file.chmod(config.stat().st_mode)


class FileHashes:
    """SHA-256 of files; that of a large one is remembered for as long as the file is untouched.

    Remembered by path, device, inode, size and both times, and only if the file had been
    left alone for two seconds: a later change within the clock's grain would not show. Files
    below 8 MB (adapters' settings, tokenizers, cards) are read each time.
    `connection` is a store's, writable or not, or None to remember within this
    object only. A 13 GB checkpoint takes half a minute to read: once is enough.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        self._known: dict[tuple[str, FileState], str] = {}
        self._new: dict[tuple[str, FileState], str] = {}
        self._connection = connection
        if connection is not None:
            rows = connection.execute(
                "SELECT path, device, inode, size, mtime_ns, ctime_ns, sha256 FROM hashed_files"
            )
            self._known = {(p, FileState(*state)): h for p, *state, h in rows.fetchall()}

    def sha256(self, file: Path) -> str:
        """Return the file's SHA-256 in hexadecimal.

        Raises:
            MissingInputError: no such file, or it may not be read.
            TryAgainError: it changed while it was read.
        """
        try:
            began = time.time_ns()
            with file.open("rb") as stream:
                state = FileState.of(os.fstat(stream.fileno()))
                key = (str(file.resolve()), state)
                if key in self._known:
                    return self._known[key]
                digest = sha256_file(stream)
                if FileState.of(os.fstat(stream.fileno())) != state:
                    raise TryAgainError(f"{file} changed while it was read: run again")
        except FileNotFoundError:
            raise MissingInputError(f"model file {file} does not exist") from None
        except PermissionError:
            raise MissingInputError(f"{file} may not be read by this user: chmod +r it") from None
        if state.size >= _LARGE and state.ctime_ns < began - _SETTLED_NS:
            self._known[key] = self._new[key] = digest
        return digest

    def save(self) -> None:
        """Write what was computed anew to the store."""
        if self._connection is not None and self._new:
            self._connection.executemany(
                "INSERT OR REPLACE INTO hashed_files VALUES (?, ?, ?, ?, ?, ?, ?)",
                [[path, *astuple(state), digest] for (path, state), digest in self._new.items()],
            )
            self._new.clear()
