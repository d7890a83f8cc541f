"""Delta tables through the package deltalake, which the extra `delta` installs."""

import os
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...errors import BadDataError, FinsentError, MissingInputError, first_line
from ...optional_imports import load_deltalake
from ..objects.addresses import address_of, divided, is_address, is_table_address, shown
from ..objects.bucket import bucket_of
from ..objects.failures import told_of_table

LOG: Final = "_delta_log"
_READABLE: Final = {None, "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
"""Reader features under which the live files hold nothing but live rows, under their own names."""


def is_delta(folder: Path, refused: type[FinsentError] = MissingInputError) -> bool:
    """Whether a folder is a Delta table, or the prefix in a bucket for which it stands.

    Raises:
        UnavailableError: of a bucket, deltalake or boto3 is not installed.
        FinsentError: the bucket cannot be looked at; `refused` where it lets nobody in.
    """
    address = address_of(folder)
    if address is None or not is_address(address):
        return (folder / LOG).is_dir()
    if not is_table_address(address):
        return False
    deltalake = load_deltalake()
    try:
        return bool(deltalake.DeltaTable.is_deltatable(address, options_of(address)))
    except OSError as error:
        raise told_of_table(address, "cannot be looked at", error, refused) from None


def options_of(address: str | None) -> dict[str, str] | None:
    """Return the options by which deltalake finds a table of a bucket."""
    return None if address is None else bucket_of(divided(address)[0]).options()


def open_delta(folder: Path) -> Any:
    """Return the table as deltalake has it, of a folder or of the address for which it stands.

    Raises:
        UnavailableError: deltalake is not installed.
        BadDataError: its log cannot be read.
    """
    deltalake = load_deltalake()
    address = address_of(folder)
    try:
        return deltalake.DeltaTable(address or folder, storage_options=options_of(address))
    except (deltalake.exceptions.DeltaError, OSError) as error:
        if address is not None and isinstance(error, OSError):
            raise told_of_table(address, "cannot be read", error, MissingInputError) from None
        raise BadDataError(
            f"{shown(folder)} is a Delta table whose log cannot be read ({first_line(error)}): "
            "repair it, or name another"
        ) from None


def unwrapped(error: BaseException) -> BaseException:
    """Return the system's error that deltalake gave a form of its own, or the error as it is."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    if found is None or (isinstance(error, OSError) and error.errno):
        return error
    return OSError(int(found[1]), os.strerror(int(found[1])))


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
            f"{shown(folder)} is a Delta table with {', '.join(others)}, by which its files alone "
            "do not say what counts: read it with DuckDB's extension delta"
        )
    if address_of(folder) is not None:
        return list(table.file_uris())
    # Of a path the table's own folder is escaped, what is below it is not.
    root, files = table.table_uri, [uri.removeprefix("file://") for uri in table.file_uris()]
    root = root.removeprefix("file://")
    return [unquote(root) + f.removeprefix(root) if f.startswith(root) else f for f in files]


def stage_delta(folder: Path, staged: Path, wanted: pc.Expression | None = None) -> None:
    """Write the rows that count, and are wanted, as Parquet to `staged`.

    Raises:
        UnavailableError: deltalake is not installed.
        BadDataError: it cannot read the table.
    """
    table = open_delta(folder)
    try:
        rows = table.to_pyarrow_dataset()
        with pq.ParquetWriter(staged, rows.schema) as writer:
            for batch in rows.to_batches(filter=wanted):
                writer.write_batch(batch)
    except OSError as error:
        if (address := address_of(folder)) is None:
            raise
        raise told_of_table(address, "cannot be read", error, MissingInputError) from None
    except (load_deltalake().exceptions.DeltaError, pa.ArrowException) as error:
        raise BadDataError(
            f"{shown(folder)} is a Delta table that deltalake cannot read ({first_line(error)}): "
            "write the rows that count to a Parquet file, and score that"
        ) from None
