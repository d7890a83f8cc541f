"""The options of outputs that inputs share: a DuckDB table, a folder by days, a Delta table."""

import os
import re
from pathlib import Path, PurePath
from typing import Final

from ...config import ScoreConfig
from ...errors import UsageError
from ..objects.addresses import ADDRESSES, address_of, is_address, is_table_address, shown
from ..paths import STANDARD_STREAM, TABLES, format_of, names_folder, suffix_of

DELTA: Final = "delta:"
"""What stands before the folder of a Delta table."""
_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")


def check_options(config: ScoreConfig) -> None:
    """Refuse options of which one forbids the other, whatever the inputs are.

    Raises:
        UsageError: they contradict each other.
    """
    if _delta_folder(config.output) is not None:
        _check_delta(config)
    elif config.partition_by is not None:
        _check_partitions(config)
    elif config.append:
        _check_append(config)
    if config.append and config.overwrite and config.limit is None:
        raise UsageError("--append adds to a table, --overwrite replaces it: choose one")


def _check_partitions(config: ScoreConfig) -> None:
    by = config.partition_by
    if not config.append:
        raise UsageError(f"--partition-by {by} makes a folder that nights share: add --append")
    output = config.output
    if output is None or not names_folder(output) or str(output) == STANDARD_STREAM:
        raise UsageError(f"--partition-by {by} makes a folder: name it with -o, such as -o lake")
    if config.output_table is not None or config.output_format not in (None, "parquet"):
        raise UsageError(
            f"--partition-by {by} writes Parquet: leave out --output-table and --output-format"
        )
    _check_own_columns(config, f"--partition-by {by}")


def _check_delta(config: ScoreConfig) -> None:
    if not config.append:
        raise UsageError(f"-o {_named(config)}: a Delta table is what nights share: add --append")
    folder = _delta_folder(config.output)
    assert folder is not None
    address = address_of(folder)
    if address and (not is_address(address) or format_of(PurePath(address)) is not None):
        raise UsageError(
            f"-o {DELTA}{address}: a Delta table is a folder of this machine, or {ADDRESSES} and "
            "a bucket's prefix without a file's suffix"
        )
    if address and not is_table_address(address):
        raise UsageError(
            f"-o {DELTA}{address}: deltalake takes #, ? and % in an address for signs of its own: "
            "name a prefix without them"
        )
    if not address and (escape := _ESCAPE.search(os.path.realpath(folder))):
        raise UsageError(
            f"-o {_named(config)}: deltalake takes {escape[0]} in a folder's path for another "
            "sign: name a folder without it"
        )
    if config.output_table is not None or config.output_format or config.partition_by is not None:
        raise UsageError(
            f"-o {_named(config)} is the whole table: leave out --output-table, --output-format "
            "and --partition-by"
        )
    _check_own_columns(config, f"-o {_named(config)}")


def _check_own_columns(config: ScoreConfig, where: str) -> None:
    if config.on_new_columns == "drop" or config.on_changed_types != "fail":
        raise UsageError(
            f"{where} keeps each input's columns as they are: --on-new-columns drop "
            "and --on-changed-types go with a table of a .duckdb file"
        )


def _check_append(config: ScoreConfig) -> None:
    outputs = (config.output,) if config.output else map(Path, config.inputs)
    if config.output_table is None or any(suffix_of(file) != TABLES for file in outputs):
        raise UsageError(
            "--append collects inputs in one table of a .duckdb file, in a folder by days or in a "
            "Delta table: -o news.duckdb --output-table headlines --append, or "
            "-o lake --append --partition-by day, or -o delta:lake --append"
        )


def _named(config: ScoreConfig) -> str:
    """Return what `-o` names a Delta table by, as the user wrote it."""
    folder = _delta_folder(config.output)
    return DELTA + shown(folder) if folder else str(config.output)


def _delta_folder(output: Path | None) -> Path | None:
    """Return the folder of the Delta table that `-o` names, None if it names none."""
    named = str(output).removeprefix(DELTA) if str(output).startswith(DELTA) else ""
    return Path(named).expanduser() if named else None


def shared_folder(config: ScoreConfig) -> Path | None:
    """Return the folder to which all inputs are appended, None if there is none."""
    return _delta_folder(config.output) or (config.output if config.partition_by else None)
