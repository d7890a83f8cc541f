"""Published objects of buckets, copied here for as long as a query or report reads them."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Final

from ..errors import MissingInputError
from ..io.objects.addresses import SCHEME, divided, is_address
from ..io.objects.bucket import bucket_of
from ..io.paths import format_of
from ..wording import counted
from .publications import Publication

_AT_ONCE: Final = 8


def copied_here(
    publications: Sequence[Publication], folder: Path
) -> tuple[list[Publication], list[str]]:
    """Return publications with copies in `folder` of those in buckets, and what is to be said.

    Those that are gone are left out.

    Raises:
        MissingInputError, StorageError: a bucket cannot be read.
    """
    addresses = [p.path for p in publications if is_address(p.path)]
    if not addresses:
        return list(publications), []
    copies = _copies(addresses, folder)
    kept = [replace(p, path=copies.get(p.path, p.path)) for p in publications]
    gone = [p for p in kept if is_address(p.path)]
    if not gone:
        return kept, []
    more = f" and {len(gone) - 1} more outputs" if len(gone) > 1 else ""
    note = (
        f"{gone[0].path}{more} {'are' if more else 'is'} gone: "
        f"{counted(sum(p.rows for p in gone), 'row')} not counted; score again what should count, "
        f"or leave it out for good with finsent-batch store forget '{gone[0].made_from[0]}'"
    )
    return [p for p in kept if p not in gone], [note]


def fetched(address: str, folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Copy the object of an address, or all of such suffixes below it, to `folder`.

    Raises:
        MissingInputError: there is none, or the bucket cannot be read.
        StorageError: nobody answers.
    """
    bucket, key = divided(address)
    if key and format_of(PurePath(key)) is not None:
        addresses = [address]
    else:
        below = (PurePath(found) for found in bucket_of(bucket).keys(key))
        names = [f for f in below if f.name.lower().endswith(tuple(suffixes))]
        addresses = [f"{SCHEME}{bucket}/{name}" for name in names]
    copies = _copies(addresses, folder)
    if not copies:
        raise MissingInputError(f"{address} has no {', '.join(suffixes)} object: check --from")
    return [Path(copies[address]) for address in addresses if address in copies]


def _copies(addresses: Sequence[str], folder: Path) -> dict[str, str]:
    """Copy objects, several at a time; returns the copy of each that is there."""
    folder = Path(tempfile.mkdtemp(prefix="objects-", dir=folder))

    def copy(number: int, address: str) -> str | None:
        bucket, key = divided(address)
        target = folder / str(number) / PurePath(key).name
        target.parent.mkdir()
        return str(target) if bucket_of(bucket).get(key, target) else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(copy, range(len(addresses)), addresses))
    return {a: copy for a, copy in zip(addresses, found, strict=True) if copy is not None}
