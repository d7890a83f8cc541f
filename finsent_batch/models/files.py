"""Model files: their format, and their hashes, computed once per version and kept in the store."""

import hashlib
import os
from pathlib import Path

import duckdb

from ..errors import BadDataError, MissingInputError


def check_safetensors(file: Path) -> None:
    """Look at a weight file's header alone.

    Raises:
        BadDataError: it is not in the format that its name promises.
        MissingInputError: this user may not read it.
    """
    from safetensors import SafetensorError, safe_open

    if not os.access(file, os.R_OK):
        raise MissingInputError(f"{file} may not be read by this user: chmod +r it")
    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise BadDataError(
            f"{file} is no safetensors file, or not all of it ({error}): get it again"
        ) from None


def share_weights(config: Path) -> None:
    """Give the weight files beside `config` its mode: safetensors lets their owner alone read them.

    A model is often trained by one user and used at night by another.
    """
    for file in config.parent.glob("*.safetensors"):
        file.chmod(config.stat().st_mode)


class FileHashes:
    """SHA-256 of files, remembered by path, size and modification time.

    `connection` is a store's, writable or not, or None to remember within this
    object only. A 13 GB checkpoint takes half a minute to read: once is enough.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        self._known: dict[tuple[str, int, int], str] = {}
        self._new: dict[tuple[str, int, int], str] = {}
        self._connection = connection
        if connection is not None:
            rows = connection.execute("SELECT path, size, mtime_ns, sha256 FROM file_hashes")
            self._known = {(p, s, m): h for p, s, m, h in rows.fetchall()}

    def sha256(self, file: Path) -> str:
        """Return the file's SHA-256 in hexadecimal.

        Raises:
            MissingInputError: no such file.
        """
        try:
            status = file.stat()
            key = (str(file.resolve()), status.st_size, status.st_mtime_ns)
            if key not in self._known:
                with file.open("rb") as stream:
                    self._known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
                self._new[key] = self._known[key]
        except FileNotFoundError:
            raise MissingInputError(f"model file {file} does not exist") from None
        return self._known[key]

    def save(self) -> None:
        """Write what was computed anew to the store."""
        if self._connection is not None and self._new:
            self._connection.executemany(
                "INSERT OR REPLACE INTO file_hashes VALUES (?, ?, ?, ?)",
                [[*key, digest] for key, digest in self._new.items()],
            )
            self._new.clear()
