"""What a store's client does for a bucket, and what it says where it fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

Kind = Literal["absent", "conflict", "ended", "busy", "unconditional", "silent", "refused"]
"""No such object; a conditional write came second; an upload in parts has ended; the store is
overloaded, has no conditional writes, does not answer, or says no."""

ATTEMPTS: Final = 8
"""How often a request is made that fails for a moment, with growing pauses."""
CHUNK: Final = 2**20
"""Bytes that are copied at once."""
_KINDS: Final[dict[Kind, set[str]]] = {
    "absent": {"NoSuchKey", "BlobNotFound", "404"},
    "conflict": {
        *("PreconditionFailed", "ConditionalRequestConflict", "412", "409"),
        *("ConditionNotMet", "BlobAlreadyExists"),
    },
    "ended": {"NoSuchUpload"},
    "unconditional": {"NotImplemented", "501"},
    "busy": {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout"),
        *("ThrottlingException", "OperationAborted", "ServerBusy"),
        *("OperationTimedOut", "500", "502", "503", "504", "429"),
    },
}
"""The stores' codes."""


class Found(NamedTuple):
    """An object that is there."""

    etag: str
    """What conditions name it by: its ETag, or Google's generation."""
    size: int
    metadata: dict[str, str]


class Failure(NamedTuple):
    """What went wrong with a request."""

    kind: Kind
    said: str
    """The store's code, or its client's one line; never a credential."""


class Client(Protocol):
    """The client of one bucket; thread-safe, and tries again what fails for a moment.

    Its methods raise `errors`, of which `failure` tells what they mean.
    """

    errors: tuple[type[Exception], ...]

    def connect(self) -> None:
        """Find credentials and endpoint, before anything else."""

    def failure(self, error: Exception) -> Failure:
        """Return what an error means."""

    def head(self, key: str) -> Found:
        """Return what is known of an object."""

    def send(self, file: Path, key: str, metadata: dict[str, str], replaces: str | None) -> None:
        """Make a file's bytes an object, in place of the one of this ETag, or of none."""

    def send_anyway(self, file: Path, key: str, metadata: dict[str, str]) -> None:
        """Make a file's bytes an object, whatever stands there."""

    def try_to_write(self, key: str) -> None:
        """Ask to write an object; leaves none."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin so, in the order of their bytes."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes."""

    def options(self) -> dict[str, str]:
        """Return what deltalake is to be told: credentials and endpoint."""


def kind_of(code: str) -> Kind:
    """Return what a store's code means."""
    return next((kind for kind, codes in _KINDS.items() if code in codes), "refused")
