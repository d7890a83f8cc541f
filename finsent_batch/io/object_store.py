"""Inputs in an object store: copied here for the run, and recorded by their address.

pyarrow's S3 client reads them; credentials, region and endpoint come from where
every AWS tool looks for them (AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT_URL …).
Outputs in buckets are `objects/`.
"""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from ..config import ScoreConfig
from ..errors import (
    BadDataError,
    MissingInputError,
    StorageError,
    TryAgainError,
    UsageError,
    first_line,
)
from .append.options import DELTA
from .duckdb_errors import is_disk_full
from .lake.delta import LOG, stage_delta
from .lake.tables import check_no_lake_objects
from .objects.addresses import address_of
from .paths import COMMON_SUFFIXES, is_input, is_left_out

logger = logging.getLogger(__name__)

SCHEME: Final = "s3://"
_CHUNK = 8 * 2**20
_LONGEST_NAME = 230
"""Bytes; what is written beside an output has a longer name than it."""
Copied = Callable[[int, int], None]


def check_addresses(config: ScoreConfig) -> None:
    """Refuse credentials in addresses: they are recorded, logged and shown.

    Raises:
        UsageError: there are some; the message does not repeat them.
    """
    output = address_of(str(config.output).removeprefix(DELTA)) if config.output else None
    addresses = [*config.inputs, *([output] if output else [])]
    if any(without_credentials(address) != address for address in addresses):
        raise UsageError(
            "the address holds credentials, which would be recorded with the run: leave them out "
            "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )


def without_credentials(address: str) -> str:
    """Return an address without what stands before `@` in its host."""
    scheme, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else address


def fetch(
    address: str, folder: Path, copied: Copied, left_out: list[str] | None = None
) -> tuple[Path, dict[Path, str]]:
    """Copy an object, or all inputs below a prefix; returns the copy, and each file's address."""
    store, path = _opened(address)
    if _is_delta(store, path, address):
        table = folder / f"{path.rpartition('/')[2]}.parquet"
        stage_delta(Path(address), table)
        return table, {table: address}
    objects = _objects(store, path, address, left_out)
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
        inside = o.path.removeprefix(path).lstrip("/") or o.base_name
        target = folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(store, o, target, count)
        addresses[target] = SCHEME + o.path
    single = len(objects) == 1 and objects[0].path == path
    return (next(iter(addresses)) if single else folder), addresses


def _is_delta(store: Any, path: str, address: str) -> bool:
    try:
        return bool(store.get_file_info(f"{path}/{LOG}").type == fs.FileType.Directory)
    except OSError as error:
        raise _unreachable(address, error) from None


def _objects(store: Any, path: str, address: str, left_out: list[str] | None) -> list[Any]:
    """Return what is to be copied, at least one object."""
    try:
        found = store.get_file_info(path)
        if found.type == fs.FileType.File:
            return [found]
        below = fs.FileSelector(path, recursive=True, allow_not_found=True)
        there = [o for o in store.get_file_info(below) if o.type == fs.FileType.File]
        wanted = [o for o in there if _wanted(o, path)]
    except OSError as error:
        raise _unreachable(address, error) from None
    except pa.ArrowInvalid as error:
        raise BadDataError(
            f"{address} has a key that cannot be read ({first_line(error)}): give it a name "
            "without empty parts, or name another prefix"
        ) from None
    keys = {o.path for o in there}
    objects = [o for o in wanted if _has_place(o.path, path, keys)]
    check_no_lake_objects(address, keys)
    if left_out is not None:
        left_out += [SCHEME + o.path for o in there if is_left_out(Path(o.path))]
        left_out += [SCHEME + o.path for o in wanted if o not in objects]
    if not objects:
        raise MissingInputError(f"{address}: no {COMMON_SUFFIXES} objects there")
    return objects


def _opened(address: str) -> tuple[Any, str]:
    try:
        store, path = fs.FileSystem.from_uri(address)
    except ValueError as error:
        raise UsageError(f"{address}: {first_line(error)}") from None
    except OSError as error:  # no region is set, and nobody answers who could tell the bucket's
        raise _unreachable(address, error) from None
    return store, path.rstrip("/")


def _unreachable(address: str, error: OSError) -> MissingInputError:
    return MissingInputError(
        f"{address} cannot be listed ({first_line(error)}): check the address, AWS_DEFAULT_REGION, "
        "AWS_ENDPOINT_URL and your credentials, such as AWS_PROFILE"
    )


def _has_place(key: str, prefix: str, keys: set[str]) -> bool:
    """Whether a key can be a file's path here: others choose keys, and not for a file system."""
    parts = key.removeprefix(prefix).lstrip("/").split("/")
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


def _copy(store: Any, found: Any, target: Path, count: Callable[[int], None]) -> None:
    try:
        with store.open_input_stream(found.path) as stream, target.open("wb") as file:
            while chunk := stream.read(_CHUNK):
                file.write(chunk)
                count(len(chunk))
            if file.tell() != found.size:
                raise TryAgainError(
                    f"{SCHEME}{found.path} changed while it was being copied: run again"
                )
    except OSError as error:
        if is_disk_full(error):
            raise StorageError(
                f"no room for a copy of {SCHEME}{found.path} in {target.parent}: name a roomier "
                "place in TMPDIR"
            ) from None
        raise TryAgainError(
            f"{SCHEME}{found.path} could not be read to its end ({first_line(error)}): run again"
        ) from None
