"""Protocols of sources and sinks, and what all of them share."""

import os
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..arrays import to_arrow
from ..errors import DISK_FULL, BadDataError, CannotCreateError, first_line
from .atomic import cannot_write, opened_temporary, temporary_of
from .columns import RowSchema
from .provenance import Provenance


class Sink(Protocol):
    """One output."""

    path: str
    table: str | None

    def exists(self) -> bool:
        """Return whether something stands where the output would go."""
        ...

    def provenance(self) -> Provenance | None:
        """Return the provenance of what stands there, None if it has none."""
        ...

    def check_replaceable(
        self, source: "Source", *, overwrite: bool, limit: int | None = None
    ) -> None:
        """Raise CannotCreateError if what stands there is not the source's to replace.

        That is what was not made from this same input, or, by a trial of its first
        `limit` rows, what was made from the whole of it.
        """
        ...

    def check_columns(self, schema: RowSchema) -> None:
        """Raise CannotCreateError if a column of the source cannot be written here."""
        ...

    def check_writable(self) -> None:
        """Raise CannotCreateError now rather than after hours of scoring; leave no trace."""
        ...

    def write(
        self,
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        """Replace what stands there by the batches, whole or not at all."""
        ...


class FileSink(ABC):
    def __init__(self, file: Path) -> None:
        self.path = os.path.realpath(file)
        self.table: str | None = None
        self._file = Path(self.path)

    def exists(self) -> bool:
        return self._file.exists()

    @abstractmethod
    def provenance(self) -> Provenance | None: ...

    def check_replaceable(
        self, source: "Source", *, overwrite: bool, limit: int | None = None
    ) -> None:
        self._check_no_folder()
        if not overwrite and self.exists():
            check_made_from(self.provenance(), source, limit, self.path)

    def _check_no_folder(self) -> None:
        if self._file.is_dir():
            raise CannotCreateError(f"{self._file} is a folder: name a file with -o")

    def check_writable(self) -> None:
        self._check_no_folder()
        folder = self._file.parent
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with opened_temporary(self._file):
                temporary_of(self._file).unlink()
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            raise cannot_write(self._file, error) from None
        finally:
            with suppress(OSError):
                for made in missing:
                    made.rmdir()


def check_made_from(
    provenance: Provenance | None,
    source: "Source",
    limit: int | None,
    output: str,
    option: str = "-o",
) -> None:
    """Raise CannotCreateError unless an output was made from this same input, or no more of it.

    `output` names it in the message, `option` is what gives it another place, `provenance` is
    what it says of itself.
    """
    if provenance is None:
        made_from = ""
    elif provenance.append:
        made_from = " (collects inputs with --append)"
    elif (provenance.input, provenance.input_table) == (source.path, source.table):
        if limit is not None and provenance.limit is None:
            raise holds_the_whole(source, limit, output)
        return
    else:
        made_from = f" (made from {provenance.input})"
    raise CannotCreateError(
        f"{output} exists{made_from} and is not an output of this input: "
        f"name another with {option}, or replace it with --overwrite"
    )


def holds_the_whole(source: "Source", limit: int, output: str) -> CannotCreateError:
    """Return the error of a trial that would take the place of all rows of its input."""
    return CannotCreateError(
        f"{output} holds the whole of {source.path}, and --limit would leave its first {limit} "
        "rows there: write the trial elsewhere with -o or --output-table, or replace it with "
        "--overwrite"
    )


def decodable(batches: Iterator[pa.RecordBatch], where: str) -> Generator[pa.RecordBatch]:
    """Pass on the batches; Parquet lets text be no UTF-8, tables and CSV do not."""
    with closing(batches) if isinstance(batches, Generator) else nullcontext():
        for batch in batches:
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid as error:
                raise BadDataError(
                    f"{where} cannot hold text that is not UTF-8, as the input has "
                    f"({first_line(error)}): write to .parquet, or correct the input"
                ) from None
            _check_durations(batch, where)
            yield batch


def _check_durations(batch: pa.RecordBatch, where: str) -> None:
    """Refuse durations that need nanoseconds, which DuckDB's INTERVAL has not."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.type != pa.duration("ns"):
            continue
        count = column.cast(pa.int64())
        whole = pc.multiply(pc.divide(count, 1000), 1000)
        if pc.any(pc.not_equal(count, whole)).as_py():
            raise BadDataError(
                f"{where} cannot hold durations to the nanosecond, as the column {field.name!r} "
                "has: write to .parquet"
            )


BATCH_ROWS = 65_536


class Source(Protocol):
    """Rows with a headline each, readable more than once in the same order."""

    path: str
    """Absolute path of the file, the first half of the input's identity."""
    table: str | None
    """The table inside it, the second half; None for files that are one table."""
    schema: RowSchema

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, every column or the named ones."""
        ...

    def signature(self) -> object:
        """Return a value that changes when the rows may have changed."""
        ...


def first_rows(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    left = limit
    for batch in batches:
        if left is None:
            yield batch
        else:
            yield batch.slice(0, left)
            left -= min(left, batch.num_rows)
            if left == 0:
                return


def text_batches(source: Source, column: str) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Yield (text, undecodable) for each batch: string and bool arrays of equal length.

    Parquet does not check that its strings are UTF-8; a value that is not comes
    out as null with `undecodable` true.
    """
    for batch in source.batches([column]):
        yield decoded(batch.column(0))


def decoded(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return a batch's texts and which of them are no UTF-8, as `text_batches` yields them."""
    text = column
    if column.type != pa.large_string():
        options = pc.CastOptions(pa.large_string(), allow_invalid_utf8=True)
        text = pc.cast(column, options=options)
    try:
        text.validate(full=True)
        return text, to_arrow(np.zeros(len(text), np.bool_))
    except pa.ArrowInvalid:
        return _decode_each(text)


def _decode_each(text: pa.Array) -> tuple[pa.Array, pa.Array]:
    values: list[str | None] = []
    undecodable: list[bool] = []
    for raw in text.cast(pa.large_binary()).to_pylist():
        try:
            values.append(None if raw is None else raw.decode("utf-8"))
            undecodable.append(False)
        except UnicodeDecodeError:
            values.append(None)
            undecodable.append(True)
    return pa.array(values, pa.large_string()), pa.array(undecodable, pa.bool_())
