"""Arrow arrays of NumPy's numbers and back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finsent_batch.arrays import row_numbers, to_arrow, to_numpy, to_strings


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.integers(0, 5))
def test_whole_numbers_come_back(values, start):
    array = to_arrow(np.array(values, np.int64))
    array.validate(full=True)
    assert array.to_pylist() == values
    assert to_numpy(array.slice(start), 0).tolist() == values[start:]


@given(st.lists(st.booleans()))
def test_bools_are_arrows_bits(values):
    array = to_arrow(np.array(values, np.bool_))
    array.validate(full=True)
    assert array.type == pa.bool_()
    assert array.to_pylist() == values


@given(st.lists(st.none() | st.floats(width=32, allow_nan=False)), st.integers(0, 5))
def test_nulls_are_what_is_asked_for(values, start):
    array = pa.array(values, pa.float32()).slice(start)
    found = to_numpy(array, np.nan)
    assert found.dtype == np.float32
    wanted = [np.nan if v is None else v for v in values[start:]]
    assert found.tolist() == pytest.approx(wanted, nan_ok=True)


def test_columns_of_a_matrix_are_copied_in_order():
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert to_arrow(matrix[:, 1]).to_pylist() == [1, 4]


def test_row_numbers():
    assert row_numbers(5, 3).to_pylist() == [5, 6, 7]
    assert row_numbers(5, 0).to_pylist() == []


@given(st.lists(st.text()))
def test_strings_are_arrows(values):
    array = to_strings(values)
    array.validate(full=True)
    assert (array.type, array.to_pylist()) == (pa.string(), values)
