"""The types that a Delta table has for those of Arrow, and batches of them, no value changed."""

import pyarrow as pa

from ...errors import BadDataError, CannotCreateError, first_line

_UNSIGNED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}


def delta_schema(schema: pa.Schema, where: str) -> pa.Schema:
    """Return the schema that rows of `schema` get in a Delta table.

    Raises:
        CannotCreateError: a column has a type that Delta has not.
    """
    fields = []
    for field in schema:
        held = _delta_type(field.type)
        if held is None:
            raise CannotCreateError(
                f"{where}: a Delta table has no type for the column {field.name!r} "
                f"({field.type}): cast it in a view, or write to .parquet"
            )
        fields.append(pa.field(field.name, held))
    return pa.schema(fields)


def delta_batch(batch: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """Return a batch with the types that `delta_schema` gave.

    Raises:
        BadDataError: a value would not be the same.
    """
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowInvalid as error:
            raise BadDataError(
                f"{where} cannot hold a value of the column {field.name!r} ({first_line(error)}): "
                "cast it in a view, or write to .parquet"
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _delta_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that Delta has for this one, None if there is none."""
    types = pa.types
    if types.is_dictionary(kind):
        return _delta_type(kind.value_type)
    if kind in _UNSIGNED:
        return _UNSIGNED[kind]
    if types.is_uint64(kind):
        return pa.decimal128(20, 0)
    if types.is_float16(kind):
        return pa.float32()
    if types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if types.is_date(kind):
        return pa.date32()
    if types.is_null(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind) or types.is_list(kind) or types.is_large_list(kind):
        return _nested(kind)
    plain = (
        types.is_boolean, types.is_signed_integer, types.is_float32, types.is_float64,
        types.is_string, types.is_binary, types.is_decimal128,
    )  # fmt: skip
    return kind if any(is_kind(kind) for is_kind in plain) else None


def _nested(kind: pa.DataType) -> pa.DataType | None:
    inner = [kind.field(i) for i in range(kind.num_fields)]
    held = [_delta_type(field.type) for field in inner]
    if None in held:
        return None
    fields = [f.with_type(t) for f, t in zip(inner, held, strict=True)]
    return pa.struct(fields) if pa.types.is_struct(kind) else pa.list_(fields[0])
