"""Parquet files as sources and sinks."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import BadDataError, CannotCreateError, MissingInputError, StorageError, first_line
from .atomic import replacing
from .base import BATCH_ROWS, FileSink, first_rows
from .columns import RowSchema, check_column_names
from .duckdb_errors import is_storage_failure, storage_problem
from .provenance import PROVENANCE_KEY, Provenance
from .result_columns import SCORE_COLUMNS
from .text.parsing import parse_json
from .times.int96 import int96_unit
from .whole.system_errors import unreadable
from .whole.watched import Watched


class ParquetSource:
    """One Parquet file; `identity` names the user's file where this one was staged from it.

    `origin` is that file as it was before. Whatever changes in either from here on is
    told by `signature`.
    """

    def __init__(
        self,
        file: Path,
        *,
        identity: str | None = None,
        limit: int | None = None,
        origin: Watched | None = None,
    ) -> None:
        named = identity or str(file)
        self.path = named if "://" in named else str(Path(named).resolve())
        self.table: str | None = None
        self._file = file
        self._limit = limit
        self._watched = [Watched(file), *([origin] if origin is not None else [])]
        try:
            self._int96_unit = int96_unit(file)
            with pq.ParquetFile(file, coerce_int96_timestamp_unit=self._int96_unit) as parquet:
                self.schema = RowSchema(parquet.schema_arrow)
        except FileNotFoundError:
            raise MissingInputError(f"{file} does not exist: check the path") from None
        except _DAMAGE as error:
            raise _unreadable(file, error) from None
        check_column_names(self.schema.names, file)

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(
                self._file,
                page_checksum_verification=True,
                coerce_int96_timestamp_unit=self._int96_unit,
            ) as parquet:
                yield from first_rows(
                    parquet.iter_batches(batch_size=BATCH_ROWS, columns=columns), self._limit
                )
        except _DAMAGE as error:
            self.signature()
            raise _unreadable(self._file, error) from None

    def signature(self) -> object:
        for watched in self._watched:
            watched.check()
        return [watched.state for watched in self._watched]


# What reading a damaged Parquet file can raise; names that are not UTF-8 give the last.
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)

ROW_GROUP = 122_880


class ParquetSink(FileSink):
    """A Parquet file, zstd-compressed; the source's Arrow schema is kept to the letter."""

    def provenance(self) -> Provenance | None:
        try:
            metadata = pq.read_metadata(self._file).metadata or {}
            text = metadata.get(PROVENANCE_KEY.encode())
            return Provenance.from_json(parse_json(text)) if text else None
        except (pa.ArrowException, OSError, ValueError):
            return None

    def check_columns(self, schema: RowSchema) -> None:
        if schema.from_duckdb:
            parquet_schema(schema.arrow, self.path)

    def write(
        self,
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        held, signed = signed_schema(schema, provenance, self.path)
        with (
            replacing(self._file, parents=True) as temporary,
            parquet_writer(temporary, signed) as writer,
        ):
            for batch in batches:
                rows = parquet_batch(batch, held) if schema.from_duckdb else batch
                writer.write_batch(rows, row_group_size=ROW_GROUP)


def signed_schema(
    schema: RowSchema, provenance: Provenance | None, where: str
) -> tuple[pa.Schema, pa.Schema]:
    """Return the schema of a Parquet file for such rows, and the same with its provenance.

    Raises:
        CannotCreateError: a column has a type that Parquet does not know.
    """
    held = parquet_schema(schema.arrow, where) if schema.from_duckdb else schema.arrow
    if provenance is None:
        return held, held
    own = {PROVENANCE_KEY.encode(): json.dumps(provenance.to_json()).encode()}
    return held, held.with_metadata({**(held.metadata or {}), **own})


def parquet_writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet file as outputs are written."""
    checked = {"write_page_index": True, "write_page_checksum": True}
    # A dictionary of probabilities is work for a larger file. Nested columns have other names here.
    nested = any(pa.types.is_nested(field.type) for field in schema)
    dictionary = nested or [name for name in schema.names if name not in SCORE_COLUMNS]
    return pq.ParquetWriter(
        file, schema, compression="zstd", version="2.6", use_dictionary=dictionary, **checked
    )


_HUGE_INTEGERS = ("hugeint", "uhugeint")
# 38 digits are the most that Parquet readers agree on.
_HUGE_AS_DECIMAL = pa.decimal128(38, 0)


def parquet_schema(schema: pa.Schema, where: str) -> pa.Schema:
    """Return the schema that a Parquet file gets for rows of `schema`.

    Raises:
        CannotCreateError: a column has a type that Parquet does not know.
    """
    fields = []
    for field in schema:
        held = _parquet_type(field.type)
        if held is None:
            raise CannotCreateError(
                f"{where}: Parquet has no type for the column {field.name!r} "
                f"({_type_name(field.type)}): cast it in a view, or write to .duckdb"
            )
        fields.append(field if held == field.type else field.with_type(held))
    return pa.schema(fields, schema.metadata)


def parquet_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch with the types of `schema`, which `parquet_schema` gave.

    Raises:
        BadDataError: an integer of more than 38 digits.
    """
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        if column.type == field.type:
            columns.append(column)
        elif field.type == _HUGE_AS_DECIMAL:
            columns.append(_decimals(column, field.name))
        else:
            columns.append(column.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _parquet_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that Parquet gets for this one, None if there is none."""
    if isinstance(kind, pa.OpaqueType):
        return _HUGE_AS_DECIMAL if kind.type_name in _HUGE_INTEGERS else None
    if isinstance(kind, pa.Bool8Type):
        return pa.bool_()
    if pa.types.is_union(kind) or pa.types.is_interval(kind):
        return None
    if not pa.types.is_nested(kind):
        return kind
    inner = [kind.field(i) for i in range(kind.num_fields)]
    held = [_parquet_type(field.type) for field in inner]
    if held == [field.type for field in inner]:
        return kind
    if None in held or _HUGE_AS_DECIMAL in held:
        return None
    return _rebuilt(kind, [f.with_type(t) for f, t in zip(inner, held, strict=True)])


def _rebuilt(kind: pa.DataType, fields: list[pa.Field]) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct(fields)
    if pa.types.is_map(kind):
        key, item = fields[0].type.fields
        return pa.map_(key, item, kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(fields[0], kind.list_size)
    return pa.large_list(fields[0]) if pa.types.is_large_list(kind) else pa.list_(fields[0])


def _decimals(column: pa.ExtensionArray, name: str) -> pa.Array:
    """Read 16-byte integers, little end first, as what they are in memory: decimals."""
    storage = column.storage
    decimals = pa.Array.from_buffers(
        _HUGE_AS_DECIMAL, len(storage), storage.buffers(), offset=storage.offset
    )
    found = pc.min_max(decimals).as_py()
    smallest, largest = int(found["min"] or 0), int(found["max"] or 0)
    wrapped = column.type.type_name == "uhugeint" and smallest < 0
    if wrapped or max(-smallest, largest) >= 10**_HUGE_AS_DECIMAL.precision:
        raise BadDataError(
            f"the column {name!r} holds integers of more than 38 digits, which Parquet does not "
            "know: cast it in a view, or write to .duckdb"
        )
    return decimals


def _type_name(kind: pa.DataType) -> str:
    return str(kind.type_name).upper() if isinstance(kind, pa.OpaqueType) else str(kind)


def _unreadable(file: Path, error: Exception) -> Exception:
    if is_storage_failure(error):
        return StorageError(f"{file}: {storage_problem(error)} and run again")
    if isinstance(error, IsADirectoryError | PermissionError):
        return unreadable(file)
    said = str(error).casefold()
    if "encrypt" in said or "decrypt" in said or _is_encrypted(file):
        return BadDataError(f"{file} is encrypted: write it without encryption, and score that")
    if isinstance(error, pa.ArrowNotImplementedError) or "not supported" in said:
        return BadDataError(
            f"{file} uses what this reader of Parquet does not know ({first_line(error)}): write "
            "it again with common types and Zstandard or Snappy compression"
        )
    return BadDataError(
        f"{file} is not a readable Parquet file (empty, truncated or corrupt): "
        f"get it again ({first_line(error)})"
    )


def _is_encrypted(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"PARE"
