"""What an object store's failures mean: one line each, and never a word of the credentials."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ...errors import FinsentError, StorageError, TryAgainError, first_line
from ...optional_imports import load_boto3

CONFLICTS: Final = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
"""Codes of a conditional write that came second."""
NOT_KNOWN: Final = {"NotImplemented", "501"}
"""Codes of a store that has no conditional writes."""
ABSENT: Final = {"NoSuchKey", "404"}
"""Codes where there is no such object."""
_LATER: Final = {
    *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "ThrottlingException"),
    *("OperationAborted", "NoSuchUpload", "500", "502", "503", "504", "429"),
}
_ADVICE = (
    "check the address, AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and your credentials, such as "
    "AWS_PROFILE"
)

_BUSY = "the store is busy, run again; scores are kept"
_NETWORK = "check AWS_ENDPOINT_URL and the network, and run again; scores are kept"


def code_of(error: Any) -> str:
    """Return the code of a refusal, such as `AccessDenied`; requests for headers give a number."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def told_as(what: str, refused: type[FinsentError]) -> Iterator[None]:
    """Tell failures within the block as ours; `what` is what cannot be done, with its address.

    Raises:
        refused: there is no such bucket, or nobody whom it lets in.
        TryAgainError: another process was there first, or the store is overloaded.
        StorageError: nobody answers, or anything else fails half way.
    """
    load_boto3()
    from boto3.exceptions import Boto3Error
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        code = code_of(error)
        if code in CONFLICTS:
            raise TryAgainError(
                f"{what} ({code}): another process wrote it meanwhile, run again"
            ) from None
        if code in _LATER:
            raise TryAgainError(f"{what} ({code}): {_BUSY}") from None
        raise refused(f"{what} ({code}): {_ADVICE}") from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise StorageError(f"{what} ({_said(error)}): {_NETWORK}") from None
    except (exceptions.BotoCoreError, Boto3Error, ValueError) as error:
        raise refused(f"{what} ({_said(error)}): {_ADVICE}") from None


def told_of_table(what: str, error: BaseException, refused: type[FinsentError]) -> FinsentError:
    """Return our error for one of the object store that deltalake speaks to; see `told_as`."""
    text = str(error)
    found = re.search(r"<Code>(\w+)</Code>", text) or re.search(r"status code: (\d+)", text)
    if found is None:
        return StorageError(f"{what}: {_NETWORK}")
    if found[1] in _LATER:
        return TryAgainError(f"{what} ({found[1]}): {_BUSY}")
    return refused(f"{what} ({found[1]}): {_ADVICE}")


def _said(error: BaseException) -> str:
    """Return an error's line without what an endpoint's address may hold of a password."""
    return re.sub(r"//[^/@\s]*@", "//", first_line(error)).rstrip(".")
