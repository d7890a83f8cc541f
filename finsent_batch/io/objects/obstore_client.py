"""What the clients of Google's and Azure's stores share: obstore, the crate that deltalake uses.

An object is one request under a condition, whatever its size, and so appears whole; obstore's
uploads in parts know no conditions. It reads a mapped file from the disk's pages, without a copy.
"""

import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from ...optional_imports import load_obstore
from . import client
from .client import CHUNK, Failure, Found
from .failures import failure_in, said_of

_MAPPED: Final = 2**20
"""Bytes above which a file is mapped, not read."""
_A_MINUTE: Final = 64 * 2**20
"""Bytes for which one more minute is given to a request."""
_NO_METADATA = {
    "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type",
}  # fmt: skip


class ObstoreClient(ABC):
    """The client of one bucket; see `Client`."""

    no_etag: str
    """What no object's ETag is."""

    def __init__(self, name: str) -> None:
        self.obstore = load_obstore()
        kinds = self.obstore.exceptions
        self.errors: tuple[type[Exception], ...] = (
            kinds.BaseError, FileNotFoundError, ValueError,
        )  # fmt: skip
        self._conflicts = (kinds.AlreadyExistsError, kinds.PreconditionError)
        self.name = name
        self._stores: dict[int, Any] = {}

    def connect(self) -> None:
        """Find credentials and endpoint."""
        self._store(0)

    @abstractmethod
    def opened(self, **settings: Any) -> Any:
        """Return the bucket as obstore has it, with these settings of its requests."""

    @abstractmethod
    def options(self) -> dict[str, str]:
        """Return what deltalake is to be told beyond what it finds as obstore does."""

    @abstractmethod
    def version(self, etag: str) -> dict[str, str]:
        """Return the condition that an object of this ETag stands there."""

    @abstractmethod
    def etag(self, known: dict[str, Any]) -> str:
        """Return what conditions name an object by, of what is known of it."""

    def failure(self, error: Exception) -> Failure:
        """Return what an error means."""
        if isinstance(error, self._conflicts):
            return Failure("conflict", failure_in(str(error)).said)
        if isinstance(error, ValueError) or "Error performing" not in str(error):  # of its settings
            return Failure("refused", said_of(error).rpartition(" error: ")[2].rstrip("."))
        return failure_in(str(error))

    def head(self, key: str) -> Found:
        """Return what is known of an object."""
        found = self.obstore.get(self._store(0), key, options={"head": True})
        metadata = {
            name.replace("_", "-"): value
            for name, value in found.attributes.items()
            if name not in _NO_METADATA
        }
        return Found(self.etag(found.meta), found.meta["size"], metadata)

    def try_to_write(self, key: str) -> None:
        """Ask to replace an object that cannot be there, which is refused for that alone."""
        try:
            self.obstore.put(
                self._store(0), key, b"", mode=self.version(self.no_etag), use_multipart=False
            )
        except self.errors as error:
            found = self.failure(error)
            if found.kind != "conflict" and found.said != "BlobNotFound":
                raise

    def send(self, file: Path, key: str, metadata: dict[str, str], replaces: str | None) -> None:
        """Make a file's bytes an object, in place of the one of this ETag, or of none."""
        self._send(file, key, metadata, "create" if replaces is None else self.version(replaces))

    def send_anyway(self, file: Path, key: str, metadata: dict[str, str]) -> None:
        """Make a file's bytes an object, whatever stands there."""
        self._send(file, key, metadata, "overwrite")

    def _send(self, file: Path, key: str, metadata: dict[str, str], mode: Any) -> None:
        size = file.stat().st_size
        spelled = {name.replace("-", "_"): value for name, value in metadata.items()}
        with file.open("rb") as stream, ExitStack() as opened:
            content: Any = stream.read() if size <= _MAPPED else opened.enter_context(
                mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            )  # fmt: skip
            self.obstore.put(
                self._store(size), key, content, attributes=spelled, mode=mode,
                use_multipart=False,
            )  # fmt: skip

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin so, in the order of their bytes."""
        for page in self.obstore.list(self._store(0), prefix.rstrip("/") or None):
            yield from (found["path"] for found in page)

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes."""
        size = self.obstore.head(self._store(0), key)["size"]
        found = self.obstore.get(self._store(size), key)
        yield from map(bytes, found.stream(min_chunk_size=CHUNK))

    def _store(self, size: int) -> Any:
        """Return the bucket as obstore has it, with time for an object of so many bytes."""
        minutes = 1 + size // _A_MINUTE
        if minutes not in self._stores:
            self._stores[minutes] = self.opened(
                client_options={
                    "connect_timeout": "10s", "timeout": f"{minutes}m", "allow_http": True,
                },
                retry_config={"max_retries": client.ATTEMPTS - 1},
            )  # fmt: skip
        return self._stores[minutes]
