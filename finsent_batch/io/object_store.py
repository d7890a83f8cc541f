"""Inputs in an object store: copied here for the run, and recorded by their address.

pyarrow's clients of S3, Google's and Azure's stores read them; credentials, region and endpoint
come from where every tool of these looks for them (AWS_PROFILE, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME …). Outputs in buckets are `objects/`.
"""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from ..config import ScoreConfig
from ..errors import (
    BadDataError,
    MissingInputError,
    StorageError,
    TryAgainError,
    UsageError,
)
from .append.options import DELTA
from .duckdb_errors import is_disk_full
from .lake.delta import LOG, stage_delta
from .lake.tables import check_no_lake_objects
from .objects import azure, google
from .objects.addresses import (
    address_of,
    check_no_credentials,
    container_of,
    divided,
    store_of,
)
from .objects.failures import CHECK, said_of
from .objects.patience import answered
from .paths import COMMON_SUFFIXES, is_input, is_left_out

logger = logging.getLogger(__name__)

_CHUNK = 8 * 2**20
_LONGEST_NAME = 230
"""Bytes; what is written beside an output has a longer name than it."""
_FAILED = (OSError, pa.ArrowException)
"""What pyarrow raises where a store does not do what is asked."""
PATIENCE = 120.0
"""Seconds in which a store answers one request, or 8 MB of an object come."""
_LISTING = 15
"""How many times as long a list of objects may take, which is many requests."""
_NO_TOKEN = ("OAuth2 access token", "Failed to get token")
"""How Google's and Azure's clients say that they found no credentials."""
Copied = Callable[[int, int], None]


@dataclass(frozen=True)
class _Place:
    """What an address names, as pyarrow reads it."""

    store: Any
    path: str
    bucket: str
    """The bucket's own address."""

    def address_of(self, path: str) -> str:
        """Return the address of an object there."""
        return f"{self.bucket}/{path.partition('/')[2]}"


def check_addresses(config: ScoreConfig) -> None:
    """Refuse credentials in addresses: they are recorded, logged and shown.

    Raises:
        UsageError: there are some; the message does not repeat them.
    """
    output = address_of(str(config.output).removeprefix(DELTA)) if config.output else None
    check_no_credentials(*config.inputs, *([output] if output else []))


def fetch(
    address: str, folder: Path, copied: Copied, left_out: list[str] | None = None
) -> tuple[Path, dict[Path, str]]:
    """Copy an object, or all inputs below a prefix; returns the copy, and each file's address."""
    place = _opened(address)
    if _is_delta(place, address):
        table = folder / f"{place.path.rpartition('/')[2]}.parquet"
        stage_delta(Path(address), table)
        return table, {table: address}
    objects = _objects(place, address, left_out)
    size = sum(o.size for o in objects)
    logger.info("copying %d objects, %.1f MB, from %s", len(objects), size / 1e6, address)
    if size > shutil.disk_usage(folder).free:
        raise StorageError(f"{address} has {size / 1e9:.1f} GB, more than {folder} has room for: "
                           "set TMPDIR to a larger disk")  # fmt: skip
    addresses, done = {}, 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        copied(done // 10**6, size // 10**6)

    for o in objects:
        inside = o.path.removeprefix(place.path).lstrip("/") or o.base_name
        target = folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(place, o, target, count)
        addresses[target] = place.address_of(o.path)
    single = len(objects) == 1 and objects[0].path == place.path
    return (next(iter(addresses)) if single else folder), addresses


def _is_delta(place: _Place, address: str) -> bool:
    try:
        found = answered(PATIENCE, place.store.get_file_info, f"{place.path}/{LOG}")
        return bool(found.type == fs.FileType.Directory)
    except _FAILED as error:
        raise _unreachable(address, error) from None


def _objects(place: _Place, address: str, left_out: list[str] | None) -> list[Any]:
    """Return what is to be copied, at least one object."""
    store, path = place.store, place.path
    try:
        found = answered(PATIENCE, store.get_file_info, path)
        # An object of no bytes stands for a folder where Azure's store has none of its own.
        if found.type == fs.FileType.File and (found.size or is_input(Path(path))):
            return [_with_place(address, found)]
        below = fs.FileSelector(path, recursive=True, allow_not_found=True)
        listed = answered(_LISTING * PATIENCE, store.get_file_info, below)
        there = [o for o in listed if o.type == fs.FileType.File]
        wanted = [o for o in there if _wanted(o, path)]
    except pa.ArrowInvalid as error:
        raise BadDataError(
            f"{address} has a key that cannot be read ({said_of(error)}): give it a name "
            "without empty parts, or name another prefix"
        ) from None
    except _FAILED as error:
        raise _unreachable(address, error) from None
    keys = {o.path for o in wanted}
    objects = [o for o in wanted if _has_place(o.path, path, keys)]
    check_no_lake_objects(address, {o.path for o in there})
    if left_out is not None:
        left_out += [place.address_of(o.path) for o in there if is_left_out(Path(o.path))]
        left_out += [place.address_of(o.path) for o in wanted if o not in objects]
    if not objects:
        raise MissingInputError(f"{address}: no {COMMON_SUFFIXES} objects there")
    return objects


def _opened(address: str) -> _Place:
    bucket, key = divided(address)
    name, account = container_of(bucket)
    path = f"{name}/{key}".rstrip("/")
    try:
        match store_of(address):
            case "s3":
                # Of an address it would take "#", "?" and "%" for signs of its own.
                store, _ = fs.FileSystem.from_uri(bucket)
            case "gs":
                store = google.filesystem()
            case "azure":
                store = azure.filesystem(account)
    except ValueError as error:
        raise UsageError(f"{address}: {said_of(error)}") from None
    except OSError as error:  # no region is set, and nobody answers who could tell the bucket's
        raise _unreachable(address, error) from None
    return _Place(store, path.rstrip("/"), bucket)


def _unreachable(address: str, error: Exception) -> MissingInputError:
    said = "no credentials" if any(t in str(error) for t in _NO_TOKEN) else said_of(error)
    return MissingInputError(f"{address} cannot be listed ({said}): {CHECK[store_of(address)]}")


def _with_place(address: str, found: Any) -> Any:
    if len(os.fsencode(found.base_name)) > _LONGEST_NAME:
        raise UsageError(
            f"{address}: no file of this machine can have so long a name: give the object another"
        )
    return found


def _has_place(key: str, prefix: str, keys: set[str]) -> bool:
    """Whether a key can be a file's path here: others choose keys, and not for a file system."""
    parts = key.removeprefix(f"{prefix}/").split("/")
    if any(p in ("", ".", "..") or len(os.fsencode(p)) > _LONGEST_NAME for p in parts):
        return False
    above = key
    while above := above.rpartition("/")[0]:
        if above in keys:  # a file here cannot be a folder too
            return False
    return True


def _wanted(found: Any, path: str) -> bool:
    """Whether an object below a prefix is meant, by the rules of folders on this machine."""
    inside = Path(found.path.removeprefix(path).lstrip("/"))
    hidden = any(part.startswith((".", "_")) for part in inside.parts[:-1])
    return found.type == fs.FileType.File and not hidden and is_input(inside)


def _copy(place: _Place, found: Any, target: Path, count: Callable[[int], None]) -> None:
    named = place.address_of(found.path)
    try:
        # Not closed where it fails: a read that was given up may still be at it.
        stream = answered(PATIENCE, place.store.open_input_stream, found.path)
        with target.open("wb") as file:
            while chunk := answered(PATIENCE, stream.read, _CHUNK):
                file.write(chunk)
                count(len(chunk))
            copied = file.tell()
        if copied != found.size or _etag(stream) != _etag_now(place, found.path):
            raise TryAgainError(f"{named} changed while it was being copied: run again")
        stream.close()
    except _FAILED as error:
        if is_disk_full(error):
            raise StorageError(
                f"no room for a copy of {named} in {target.parent}: name a roomier place in TMPDIR"
            ) from None
        raise TryAgainError(
            f"{named} could not be read to its end ({said_of(error)}): run again"
        ) from None


def _etag_now(place: _Place, path: str) -> bytes | None:
    """Return an object's ETag; None of Google's store, which gives one version to its end."""
    if store_of(place.bucket) == "gs":
        return None
    return _etag(answered(PATIENCE, place.store.open_input_stream, path))


def _etag(stream: Any) -> bytes | None:
    """Return the ETag of S3's and Azure's objects, whose pieces are requests of their own."""
    found = answered(PATIENCE, stream.metadata).get("ETag")
    return None if found is None else bytes(found)
