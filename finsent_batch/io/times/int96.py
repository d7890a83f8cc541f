"""INT96, the old timestamp of Parquet: any day of the calendar, to the nanosecond."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...errors import BadDataError


def int96_unit(file: Path) -> str | None:
    """Return the unit that holds all INT96 times of a file: nanoseconds reach from 1677 to 2262.

    Raises:
        BadDataError: some are further away, and others need nanoseconds.
    """
    with pq.ParquetFile(file) as parquet:
        leaves = [parquet.schema.column(i) for i in range(len(parquet.schema.names))]
    paths = [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]
    if not paths:
        return None
    far = fine = False
    with (
        pq.ParquetFile(file, coerce_int96_timestamp_unit="us") as coarse,
        pq.ParquetFile(file) as exact,
    ):
        for in_us, in_ns in zip(
            coarse.iter_batches(columns=paths), exact.iter_batches(columns=paths), strict=True
        ):
            for us, ns in zip(_numbers(in_us), _numbers(in_ns), strict=True):
                away = pc.greater(pc.abs(us), _LAST_NANOSECOND // 1000)
                far = far or bool(pc.any(away).as_py())
                near = ns.filter(pc.invert(away))
                whole = pc.multiply(pc.divide(near, 1000), 1000)
                fine = fine or bool(pc.any(pc.not_equal(near, whole)).as_py())
    if far and fine:
        raise BadDataError(
            f"{file} has INT96 times beyond 2262 or before 1677 and others with nanoseconds, which "
            "no type holds: write them as TIMESTAMP in microseconds"
        )
    return "us" if far else None


_LAST_NANOSECOND = 2**63 - 1


def _numbers(batch: pa.RecordBatch) -> list[pa.Array]:
    """Return the times of a batch as integers, those inside of structs and lists too."""
    found: list[pa.Array] = []
    waiting = list(batch.columns)
    while waiting:
        array = waiting.pop(0)
        if pa.types.is_struct(array.type):
            waiting += array.flatten()
        elif pa.types.is_map(array.type):
            waiting += [array.keys, array.items]
        elif pa.types.is_nested(array.type):
            waiting.append(array.flatten())
        elif pa.types.is_timestamp(array.type):
            found.append(array.cast(pa.int64()))
    return found
