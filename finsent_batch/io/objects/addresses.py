"""Addresses of objects in buckets, also where an option's path stands for one."""

import re
from pathlib import PurePath
from typing import Final, Literal

from ...errors import UsageError

Store = Literal["s3", "gs", "azure"]
_STORES: Final[dict[str, Store]] = {
    "s3": "s3", "gs": "gs", "abfs": "azure", "abfss": "azure", "az": "azure",
}  # fmt: skip
"""What addresses in buckets begin with, and which kind of store that is."""
ADDRESSES: Final = "s3://, gs:// or abfs://"
_DELTA: Final = "delta:"
_ADDRESS = re.compile(
    r"(s3[an]?|gs|gcs|abfss?|az|adl|wasbs?|hdfs|file|https?):(?:/+(?=[^/])|$)", re.IGNORECASE
)
_SIGNED = re.compile(r"[?&](?:sig|x-(?:amz|goog)-(?:signature|credential))=", re.IGNORECASE)
"""What is in an address that opens a store to whoever has it."""
_ACCOUNT = re.compile(r"([^:@]+)@([a-z0-9]+)\.(?:dfs|blob)\.core\.windows\.net")


def is_address(named: str) -> bool:
    """Whether a name is that of an object or prefix in a bucket."""
    scheme, _, rest = named.partition("://")
    return rest.strip("/") != "" and scheme in _STORES


def is_table_address(address: str) -> bool:
    """Whether deltalake takes an address as it is written: it would cut or decode others."""
    return not any(sign in address for sign in "#?%")


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
    """Return an address without a signature, and without what stands before `@` in its host.

    Azure's containers stand there too, and stay.
    """
    table = _DELTA if address.startswith(_DELTA) else ""
    address = address.removeprefix(table)
    if "://" in address and _SIGNED.search(address):
        address = address.partition("?")[0]
    scheme, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    if not mark or (is_address(address) and container_of(f"{scheme}://{host}")[1] is not None):
        return table + address
    return f"{table}{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def check_no_credentials(*addresses: str) -> None:
    """Refuse credentials in addresses: they are recorded, logged and shown.

    Raises:
        UsageError: there are some; the message does not repeat them.
    """
    if any(without_credentials(address) != address for address in addresses):
        raise UsageError(
            "the address holds credentials, which would be recorded with the run: leave them out "
            "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or those of the "
            "other stores"
        )
