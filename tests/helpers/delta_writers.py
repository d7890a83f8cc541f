"""Two runs that write one night into a Delta table, the one while the other is at it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from finsent_batch.errors import TryAgainError
from finsent_batch.io.append.delta_sink import DeltaSink
from finsent_batch.io.columns import RowSchema
from finsent_batch.io.provenance import Provenance


def check_that_the_second_is_told(table: Path, said: str) -> None:
    """Write one row twice over, both where there is no table and where there is one."""
    batch = pa.record_batch({"headline": ["Oil falls"]})

    def write(run: int, batches: Iterable[pa.RecordBatch]) -> None:
        made = Provenance(input="/mon.parquet", run_id=f"019ac000-000{run}-7000-8000-000000000000")
        DeltaSink(table).write(RowSchema(batch.schema), iter(batches), made)

    def meanwhile(run: int) -> Iterable[pa.RecordBatch]:
        with ThreadPoolExecutor(1) as other:  # deltalake's own threads cannot wait for it
            other.submit(write, run, [batch]).result()
        yield batch

    for first, second in ((0, 1), (2, 3)):
        with pytest.raises(TryAgainError, match=said):
            write(second, meanwhile(first))
