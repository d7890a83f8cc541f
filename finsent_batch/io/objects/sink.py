"""An object in a bucket as a sink: another sink's file, uploaded once it is whole."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from ...errors import CannotCreateError, StorageError
from ..base import Source, check_made_from
from ..columns import RowSchema
from ..parquet import ParquetSink
from ..provenance import Provenance
from ..text.sink import TextSink
from .addresses import divided
from .bucket import bucket_of
from .client import Found

METADATA: Final = "finsent-batch"
"""The name of an object's metadata that holds its provenance."""
_HELD: Final = ("version", "input", "input_table", "run_id", "limit")
_MOST_BYTES = 1_800
"""Of the 2 kB that S3 leaves for all metadata."""


class ObjectSink:
    """An object that appears whole, or takes the place of the one that was looked at.

    Its rows wait in `file`, which `inner` writes. The object says of its making what its metadata
    hold; the upload is refused if another took its place since `check_replaceable`.
    """

    def __init__(self, inner: ParquetSink | TextSink, file: Path, address: str) -> None:
        self.path = address
        self.table: str | None = None
        inner.path = address  # what its messages name
        self._inner, self._file = inner, file
        bucket, self._key = divided(address)
        self._bucket = bucket_of(bucket)
        self._there: Found | None = None

    def exists(self) -> bool:
        """Return whether there is such an object."""
        return self._bucket.find(self._key) is not None

    def provenance(self) -> Provenance | None:
        """Return what the object says of its making."""
        there = self._bucket.find(self._key)
        return None if there is None else _provenance(there)

    def check_replaceable(
        self, source: Source, *, overwrite: bool, limit: int | None = None
    ) -> None:
        """Refuse what was not made from this input; see `Sink`. What is there now may be replaced.

        Raises:
            CannotCreateError: it was not, or the bucket refuses.
            StorageError: nobody answers.
        """
        self._there = self._bucket.find(self._key)
        if self._there is None or overwrite:
            return
        made = _provenance(self._there)
        if made is not None and made.input == _digest(source.path):
            made = replace(made, input=source.path, input_table=source.table)
        check_made_from(made, source, limit, self.path)

    def check_columns(self, schema: RowSchema) -> None:
        """Refuse columns that the format has no room for."""
        self._inner.check_columns(schema)

    def check_writable(self) -> None:
        """Refuse a bucket that lets nothing be written there."""
        self._bucket.check_writable(self._key.rpartition("/")[0])

    def write(
        self, schema: RowSchema, batches: Iterator[pa.RecordBatch], provenance: Provenance
    ) -> None:
        """Write the file, then upload it; see `Bucket.put`."""
        try:
            self._inner.write(schema, batches, provenance)
        except (CannotCreateError, StorageError) as error:
            if str(self._file) not in str(error):
                raise
            raise StorageError(f"{error} (rows for {self.path} wait in TMPDIR)") from None
        etag = None if self._there is None else self._there.etag
        try:
            self._bucket.put(self._file, self._key, _metadata(provenance), etag)
        finally:
            self._file.unlink()


def state_of(address: str) -> str | None:
    """Return what an object is as text, to be compared with a later one; None if there is none."""
    bucket, key = divided(address)
    there = bucket_of(bucket).find(key)
    return None if there is None else json.dumps([there.etag, there.size])


def _metadata(provenance: Provenance) -> dict[str, str]:
    """Return an object's metadata, a long name of its input by the name's digest."""
    held = {name: getattr(provenance, name) for name in _HELD}
    if len(json.dumps(held)) > _MOST_BYTES:
        held |= {"input": _digest(provenance.input or ""), "input_table": None}
    return {METADATA: json.dumps(held)}


def _provenance(there: Found) -> Provenance | None:
    try:
        return Provenance.from_json(json.loads(there.metadata.get(METADATA, "null")))
    except ValueError:
        return None


def _digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
