"""Addresses of objects in buckets, also where an option's path stands for one."""

import re
from pathlib import PurePath
from typing import Final

SCHEME: Final = "s3://"
"""How addresses of outputs in buckets begin."""
_DELTA: Final = "delta:"
_ADDRESS = re.compile(r"(s3a?|gs|gcs|abfss?|az|https?):/+(?=[^/])")


def is_address(named: str) -> bool:
    """Whether a name is that of an output in a bucket."""
    return named.startswith(SCHEME)


def address_of(path: PurePath | str | None) -> str | None:
    """Return the address of whatever scheme that a path is; None if it is a file's or folder's.

    A path has lost one of the address's slashes, and those at its end.
    """
    found = _ADDRESS.match(str(path))
    return f"{found[1]}://{str(path)[found.end() :]}" if found and path is not None else None


def shown(path: PurePath) -> str:
    """Return a path, or the address that it stands for, as the user wrote it."""
    named = str(path).removeprefix(_DELTA)
    return str(path).removesuffix(named) + (address_of(named) or named)


def divided(address: str) -> tuple[str, str]:
    """Return the bucket and the key of an address."""
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    return bucket, key.strip("/")
