"""Delta tables through the package deltalake, which the extra `delta` installs."""

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import BadDataError, first_line
from ...optional_imports import load_deltalake

LOG: Final = "_delta_log"
_READABLE: Final = {None, "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
"""Reader features under which the live files hold nothing but live rows, under their own names."""


def is_delta(folder: Path) -> bool:
    """Whether a folder is a Delta table."""
    return (folder / LOG).is_dir()


def open_delta(folder: Path) -> Any:
    """Return the table as deltalake has it.

    Raises:
        UnavailableError: deltalake is not installed.
        BadDataError: its log cannot be read.
    """
    deltalake = load_deltalake()
    try:
        return deltalake.DeltaTable(folder)
    except (deltalake.exceptions.DeltaError, OSError) as error:
        raise BadDataError(
            f"{folder} is a Delta table whose log cannot be read ({first_line(error)}): repair "
            "it, or name another"
        ) from None


def live_files(folder: Path) -> list[str]:
    """Return the Parquet files whose rows count.

    Raises:
        UnavailableError, BadDataError: see `open_delta`.
        BadDataError: files alone do not say which rows count.
    """
    table = open_delta(folder)
    others = sorted({*(table.protocol().reader_features or ())} - _READABLE)
    if others:
        raise BadDataError(
            f"{folder} is a Delta table with {', '.join(others)}, by which its files alone do not "
            "say what counts: read it with DuckDB's extension delta"
        )
    return [uri.removeprefix("file://") for uri in table.file_uris()]


def stage_delta(folder: Path, staged: Path) -> None:
    """Write the rows that count as Parquet to `staged`.

    Raises:
        UnavailableError: deltalake is not installed.
        BadDataError: it cannot read the table.
    """
    table = open_delta(folder)
    try:
        rows = table.to_pyarrow_dataset()
        with pq.ParquetWriter(staged, rows.schema) as writer:
            for batch in rows.to_batches():
                writer.write_batch(batch)
    except (load_deltalake().exceptions.DeltaError, pa.ArrowException) as error:
        raise BadDataError(
            f"{folder} is a Delta table that deltalake cannot read ({first_line(error)}): write "
            "the rows that count to a Parquet file, and score that"
        ) from None
