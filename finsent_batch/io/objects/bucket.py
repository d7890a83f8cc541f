"""A bucket: its objects looked at, written whole and under a condition, and copied here."""

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ...errors import CannotCreateError, MissingInputError, StorageError, TryAgainError
from ...failpoints import failpoint
from .addresses import container_of, store_of
from .azure import AzureClient
from .client import Client, Found
from .failures import told_as
from .google import GoogleClient
from .s3 import S3Client

logger = logging.getLogger(__name__)


class Bucket:
    """One bucket, by its own address; thread-safe.

    Every method raises StorageError where nobody answers, TryAgainError where the store is
    overloaded, and CannotCreateError or, where it only reads, MissingInputError where there is no
    such bucket or the credentials are refused.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._checked: set[str] = set()
        self._client = _client_of(address)
        with told_as(self._client, address, "cannot be reached", CannotCreateError):
            self._client.connect()

    def find(self, key: str, *, reading: bool = False) -> Found | None:
        """Return what is known of an object, None where there is none."""
        refused = MissingInputError if reading else CannotCreateError
        with told_as(self._client, self._named(key), "cannot be looked at", refused):
            try:
                return self._client.head(key)
            except self._client.errors as error:
                if self._client.failure(error).kind == "absent":
                    return None
                raise

    def check_writable(self, folder: str) -> None:
        """Refuse a folder to which nothing may be written; leaves no object."""
        if folder in self._checked:
            return
        with told_as(self._client, self._named(folder), "cannot be written", CannotCreateError):
            self._client.try_to_write(f"{folder}/.finsent-check".lstrip("/"))
        self._checked.add(folder)

    def put(self, file: Path, key: str, metadata: dict[str, str], replaces: str | None) -> None:
        """Make a file's bytes an object, whole or not at all.

        It takes the place of the object with the ETag `replaces`, or of none.

        Raises:
            TryAgainError: what stands there is no longer that.
        """
        client = self._client
        with told_as(client, self._named(key), "cannot be written", CannotCreateError):
            failpoint("before_upload")
            try:
                client.send(file, key, metadata, replaces)
            except client.errors as error:
                kind = client.failure(error).kind
                # An attempt that was repeated as its answer got lost comes second to itself.
                if kind in ("conflict", "ended") and self._is_there(key, metadata, file):
                    return
                if kind == "absent" and replaces is not None:
                    raise self._another_wrote(key) from None
                if kind != "unconditional":
                    raise
                self._check_unchanged(key, replaces)
                client.send_anyway(file, key, metadata)
            failpoint("uploaded")

    def _check_unchanged(self, key: str, replaces: str | None) -> None:
        logger.warning(
            "%s has no conditional writes: of two runs that write one object at once, the later "
            "one wins", self._address,
        )  # fmt: skip
        there = self.find(key)
        if (there.etag if there else None) != replaces:
            raise self._another_wrote(key)

    def _another_wrote(self, key: str) -> TryAgainError:
        return TryAgainError(f"another process wrote {self._named(key)} meanwhile: run again")

    def _is_there(self, key: str, metadata: dict[str, str], file: Path) -> bool:
        there = self.find(key)
        return there is not None and there[1:] == (file.stat().st_size, metadata)

    def options(self) -> dict[str, str]:
        """Return what deltalake is to be told: credentials and endpoint."""
        with told_as(self._client, self._address, "cannot be reached", CannotCreateError):
            return self._client.options()

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix, in the order of their bytes."""
        with told_as(self._client, self._named(prefix), "cannot be listed", MissingInputError):
            yield from self._client.keys(f"{prefix}/".lstrip("/"))

    def get(self, key: str, target: Path) -> bool:
        """Copy an object to a file; returns whether there is one."""
        with told_as(self._client, self._named(key), "cannot be read", MissingInputError):
            try:
                self._copy(key, target)
            except self._client.errors as error:
                if self._client.failure(error).kind == "absent":
                    return False
                raise
        return True

    def _copy(self, key: str, target: Path) -> None:
        chunks = self._client.chunks(key)
        first = next(chunks, b"")
        try:
            with target.open("wb") as file:
                file.write(first)
                for chunk in chunks:
                    file.write(chunk)
        except OSError as error:
            raise StorageError(
                f"no copy of {self._named(key)} can be written in {target.parent} "
                f"({error.strerror}): name a roomier place in TMPDIR"
            ) from None

    def _named(self, key: str) -> str:
        return f"{self._address}/{key}"


def _client_of(address: str) -> Client:
    name, account = container_of(address)
    match store_of(address):
        case "s3":
            return S3Client(name)
        case "gs":
            return GoogleClient(name)
        case "azure":
            return AzureClient(name, account)


@cache
def bucket_of(address: str) -> Bucket:
    """Return the bucket of its own address, with one client for all who ask."""
    return Bucket(address)
