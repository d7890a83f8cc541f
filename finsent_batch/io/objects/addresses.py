"""Addresses of objects in buckets, also where an option's path stands for one."""

import re
from pathlib import PurePath
from typing import Final, Literal

Store = Literal["s3", "gs", "azure"]
_STORES: Final[dict[str, Store]] = {
    "s3": "s3", "gs": "gs", "abfs": "azure", "abfss": "azure", "az": "azure",
}  # fmt: skip
"""What addresses in buckets begin with, and which kind of store that is."""
ADDRESSES: Final = "s3://, gs:// or abfs://"
_DELTA: Final = "delta:"
_ADDRESS = re.compile(r"(s3a?|gs|gcs|abfss?|az|https?):/+(?=[^/])")
_ACCOUNT = re.compile(r"([^:@]+)@([a-z0-9]+)\.(?:dfs|blob)\.core\.windows\.net")


def is_address(named: str) -> bool:
    """Whether a name is that of an object or prefix in a bucket."""
    scheme, mark, _ = named.partition("://")
    return bool(mark) and scheme in _STORES


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
    """Return the bucket's own address, such as `s3://bucket`, and the key of an address."""
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key.strip("/")


def store_of(address: str) -> Store:
    """Return the kind of store that an address is in."""
    return _STORES[address.partition("://")[0]]


def container_of(bucket: str) -> tuple[str, str | None]:
    """Return the name of a bucket by its own address, and the account that it names, if any.

    Azure's buckets, which it calls containers, may be `container@account.dfs.core.windows.net`.
    """
    name = bucket.partition("://")[2]
    found = _ACCOUNT.fullmatch(name) if store_of(bucket) == "azure" else None
    return (found[1], found[2]) if found else (name, None)


def without_credentials(address: str) -> str:
    """Return an address without what stands before `@` in its host, but for Azure's containers."""
    scheme, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    if not mark or (is_address(address) and container_of(f"{scheme}://{host}")[1] is not None):
        return address
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"
