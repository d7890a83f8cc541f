"""Published objects of buckets, copied here for as long as a query or report reads them."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Final

import pyarrow.compute as pc

from ..errors import MissingInputError
from ..io.duckdb_append import INPUT_COLUMN
from ..io.lake.delta import is_delta, stage_delta
from ..io.objects.addresses import divided, is_address
from ..io.objects.bucket import bucket_of
from ..io.paths import format_of
from ..wording import counted, in_shell
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
    objects = [p.path for p in publications if is_address(p.path) and p.inputs is None]
    copies = _copies(objects, folder) if objects else {}
    kept = [replace(p, path=copies.get(p.path, p.path)) for p in publications]
    kept = [p if p.inputs is None else _rows_of_table(p, folder) for p in kept]
    gone = [p for p in kept if is_address(p.path)]
    if not gone:
        return kept, []
    more = f" and {len(gone) - 1} more outputs" if len(gone) > 1 else ""
    note = (
        f"{gone[0].path}{more} {'are' if more else 'is'} gone: "
        f"{counted(sum(p.rows for p in gone), 'row')} not counted; score again what should count, "
        f"or leave it out for good with finsent-batch store forget {in_shell(gone[0].made_from[0])}"
    )
    return [p for p in kept if p not in gone], [note]


def fetched(address: str, folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Copy the object of an address, or all of such suffixes below it, to `folder`.

    Raises:
        MissingInputError: there is none, or the bucket cannot be read.
        StorageError: nobody answers.
    """
    bucket, key = divided(address)
    if format_of(PurePath(key)) is None and _is_delta(address):
        return [_staged(address, folder)]
    if key and format_of(PurePath(key)) is not None:
        addresses = [address]
    else:
        below = (PurePath(found) for found in bucket_of(bucket).keys(key))
        names = [f for f in below if f.name.lower().endswith(tuple(suffixes))]
        addresses = [f"{bucket}/{name}" for name in names]
    copies = _copies(addresses, folder)
    if not copies and addresses == [address]:
        raise MissingInputError(f"{address} does not exist: check --from")
    if not copies:
        raise MissingInputError(f"{address} has no {', '.join(suffixes)} object: check --from")
    return [Path(copies[address]) for address in addresses if address in copies]


def _rows_of_table(publication: Publication, folder: Path) -> Publication:
    """Return a copy of the rows that a publication means of a Delta table in a bucket."""
    if not is_address(publication.path) or not is_delta(Path(publication.path)):
        return publication
    copy = _staged(publication.path, folder, pc.field(INPUT_COLUMN).isin(publication.inputs))
    return replace(publication, path=str(copy), inputs=None)


def _is_delta(address: str) -> bool:
    return find_spec("deltalake") is not None and is_delta(Path(address))


def _staged(address: str, folder: Path, wanted: pc.Expression | None = None) -> Path:
    copy = Path(tempfile.mkdtemp(prefix="table-", dir=folder)) / f"{PurePath(address).name}.parquet"
    stage_delta(Path(address), copy, wanted)
    return copy


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
