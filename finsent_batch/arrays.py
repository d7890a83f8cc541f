"""Array types by what they hold; Arrow arrays of NumPy's numbers and back, without pandas.

pyarrow imports pandas, where it is installed, for every array or scalar that it makes of Python's
or NumPy's values: a quarter of a second of each run. Buffers are exchanged without it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
IdArray = npt.NDArray[np.int32]

# Arrow's own `to_pandas_dtype` also imports pandas, in some versions.
_NUMPY = {
    pa.from_numpy_dtype(dtype): dtype
    for dtype in map(np.dtype, [*"bhilBHIL", np.float16, np.float32, np.float64])
}


def to_arrow(values: npt.NDArray[Any]) -> pa.Array:
    """Return numbers or bools of shape (n,) as an Arrow array, numbers without a copy."""
    if values.dtype == np.bool_:
        kind, content = pa.bool_(), np.packbits(values, bitorder="little")
    else:
        kind, content = pa.from_numpy_dtype(values.dtype), np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(content)])


def to_numpy(array: pa.Array, null: float) -> npt.NDArray[Any]:
    """Return an Arrow array of numbers as NumPy's, shape (n,), with `null` in place of nulls."""
    dtype = _NUMPY[array.type]
    if array.null_count:
        array = pc.fill_null(array, to_arrow(np.array([null], dtype))[0])
    content = array.buffers()[1]
    if content is None:
        return np.empty(0, dtype)
    return np.frombuffer(content, dtype)[array.offset : array.offset + len(array)]


def row_numbers(start: int, count: int) -> pa.Array:
    """Return the int64 numbers of `count` rows from `start` on."""
    return to_arrow(np.arange(start, start + count, dtype=np.int64))


def to_strings(values: Sequence[str]) -> pa.Array:
    """Return strings as an Arrow array."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    return pa.StringArray.from_buffers(
        len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
    )
