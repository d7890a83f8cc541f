"""What an object store's failures mean: one line each, and never a word of the credentials."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ...errors import FinsentError, StorageError, TryAgainError, first_line
from .addresses import Store, store_of
from .client import Client, Failure, kind_of

_BUSY: Final = "the store is busy, run again; scores are kept"
CHECK: Final[dict[Store, str]] = {
    "s3": "check the address, AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and your credentials, such as "
    "AWS_PROFILE",
    "gs": "check the address and your credentials, such as GOOGLE_APPLICATION_CREDENTIALS",
    "azure": "check the address, AZURE_STORAGE_ACCOUNT_NAME and your credentials, such as "
    "AZURE_STORAGE_ACCOUNT_KEY",
}
"""What helps where a store lets nobody in."""
_NETWORK: Final[dict[Store, str]] = {
    "s3": "check AWS_ENDPOINT_URL and the network",
    "gs": "check the network",
    "azure": "check AZURE_STORAGE_ENDPOINT and the network",
}
_METADATA_SERVERS = ("169.254.169.254", "metadata.google.internal")
"""Whom Google's and Azure's clients ask where no credentials are set."""


def said_of(error: BaseException) -> str:
    """Return an error's first line without what its addresses may hold of credentials.

    That is a password before a host, and a query: Azure's shared access signatures stand there.
    """
    text = re.sub(r"//[^/\s]*@", "//", first_line(error))
    return re.sub(r"\?[^\s'\"]+", "", text)


def told(failure: Failure, address: str, cannot: str, refused: type[FinsentError]) -> FinsentError:
    """Return our error for a failure: `cannot` is what cannot be done with the address.

    It is of the type `refused` where there is no such bucket, or nobody whom it lets in;
    TryAgainError where another process was there first, or the store is overloaded; StorageError
    where nobody answers.
    """
    what, store = f"{address} {cannot} ({failure.said})", store_of(address)
    if failure.kind == "conflict":
        return TryAgainError(f"{what}: another process wrote it meanwhile, run again")
    if failure.kind in ("busy", "ended"):
        return TryAgainError(f"{what}: {_BUSY}")
    if failure.kind == "silent":
        return StorageError(f"{what}: {_NETWORK[store]}, and run again; scores are kept")
    return refused(f"{what}: {CHECK[store]}")


@contextmanager
def told_as(
    client: Client, address: str, cannot: str, refused: type[FinsentError]
) -> Iterator[None]:
    """Tell a client's failures within the block as ours; see `told`."""
    try:
        yield
    except client.errors as error:
        raise told(client.failure(error), address, cannot, refused) from None


def told_of_table(
    address: str, cannot: str, error: BaseException, refused: type[FinsentError]
) -> FinsentError:
    """Return our error for one of the object store that deltalake speaks to; see `told`."""
    return told(failure_in(str(error)), address, cannot, refused)


def failure_in(text: str) -> Failure:
    """Return what an error of the Rust crate object_store means, by its text."""
    found = re.search(r"<Code>(\w+)</Code>", text) or re.search(r"status code: (\d+)", text)
    if any(server in text for server in _METADATA_SERVERS):
        return Failure("refused", "no credentials")
    if found is None:
        return Failure("silent", "no answer")
    if "token request" in text:
        return Failure("refused", f"no token for these credentials, {found[1]}")
    return Failure(kind_of(found[1]), found[1])
