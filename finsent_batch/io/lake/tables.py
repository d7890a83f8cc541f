"""Recognize Delta, Iceberg and Hudi tables, and read them through what is installed.

That is the package deltalake, or DuckDB's extensions, which are never installed from here.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Literal

import duckdb

from ...errors import BadDataError, UnavailableError, first_line
from ..sql import quote_literal
from .delta import LOG, stage_delta

LakeKind = Literal["delta", "iceberg", "hudi"]
_NAMES: Final[dict[LakeKind, str]] = {"delta": "a Delta", "iceberg": "an Iceberg", "hudi": "a Hudi"}
_LOGS: Final[dict[LakeKind, str]] = {
    "delta": LOG,
    "iceberg": "metadata",
    "hudi": ".hoodie",
}
_EXTENSIONS: Final[dict[LakeKind, tuple[str, ...]]] = {
    "delta": ("delta",),
    "iceberg": ("avro", "iceberg"),
}
"""What reads them; for Hudi there is nothing."""
_METADATA = ".metadata.json"
_WRITE = "write the rows that count to a Parquet file, and score that"


@dataclass(frozen=True, kw_only=True)
class LakeTable:
    """A folder that is such a table."""

    folder: Path
    kind: LakeKind

    @property
    def log(self) -> Path:
        """The folder that says which files count; it changes with every commit."""
        return self.folder / _LOGS[self.kind]

    def __str__(self) -> str:
        return _what(self.folder, self.kind)


def lake_table(folder: Path) -> LakeTable | None:
    """Return the table that a folder is, None if it is none."""
    for kind, log in _LOGS.items():
        inside = folder / log
        # `is_dir` would raise where the folder may not be looked into.
        if os.path.isdir(inside) and (  # noqa: PTH112
            kind != "iceberg" or any(inside.glob(f"*{_METADATA}"))
        ):
            return LakeTable(folder=folder, kind=kind)
    return None


def check_no_lake_table(*folders: Path) -> None:
    """Refuse files of folders of which one is such a table.

    Raises:
        BadDataError: it is.
    """
    for table in filter(None, map(lake_table, folders)):
        how = "" if table.kind == "hudi" else f"score {table.folder} by itself, or "
        raise BadDataError(f"{table}: {how}{_WRITE}")


def check_no_lake_objects(address: str, keys: Iterable[str]) -> None:
    """Refuse the objects below an address if some of them are the log of such a table.

    Raises:
        BadDataError: they are.
    """
    for key in map(PurePath, keys):
        for kind, log in _LOGS.items():
            inside = log in key.parts[:-1]
            if inside and (kind != "iceberg" or key.name.endswith(_METADATA)):
                raise BadDataError(f"{_what(address, kind)}: {_WRITE}")


def stage_lake_table(table: LakeTable, staged: Path) -> tuple[str, ...]:
    """Write the rows that count as Parquet to `staged`; returns what is to be said of them.

    Raises:
        BadDataError: what reads it is not installed, or cannot read it.
    """
    if table.kind == "delta" and _stage_by_deltalake(table, staged):
        return ()
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        _load(connection, table)
        scan, notes = _scan(table)
        try:
            connection.execute(
                f"COPY (FROM {scan}) TO {quote_literal(str(staged))} (FORMAT parquet)"
            )
        except duckdb.Error as error:
            raise BadDataError(
                f"{table}, which DuckDB cannot read ({first_line(error)}): {_WRITE}"
            ) from None
    return notes


def _stage_by_deltalake(table: LakeTable, staged: Path) -> bool:
    """Stage a Delta table by deltalake; false leaves it to DuckDB's extension."""
    try:
        stage_delta(table.folder, staged)
    except UnavailableError:
        return False
    except BadDataError:  # the extension knows features that deltalake does not
        with duckdb.connect(":memory:") as connection:
            if "delta" not in _installed(connection):
                raise
        return False
    return True


def _installed(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute("SELECT extension_name FROM duckdb_extensions() WHERE installed")
    return {row[0] for row in rows.fetchall()}


def _load(connection: duckdb.DuckDBPyConnection, table: LakeTable) -> None:
    if table.kind == "hudi":
        raise BadDataError(f"{table}: {_WRITE}")
    needed = _EXTENSIONS[table.kind]
    if not _installed(connection).issuperset(needed):
        sql = "; ".join(f"INSTALL {name}" for name in needed)
        command = f"{shlex.quote(sys.executable)} -c \"import duckdb; duckdb.sql('{sql}')\""
        if table.kind == "delta":
            command += " or pip install 'finsent-batch[delta]'"
        raise BadDataError(
            f"{table}: install what reads it with {command} and run again, or {_WRITE}"
        )
    for name in needed:
        try:
            connection.execute(f"LOAD {name}")
        except duckdb.Error as error:
            raise BadDataError(
                f"{table}, and DuckDB's extension {name} cannot be loaded ({first_line(error)}): "
                f"install it again, or {_WRITE}"
            ) from None


def _scan(table: LakeTable) -> tuple[str, tuple[str, ...]]:
    """Return what to select from, and what is to be said of it."""
    if table.kind == "delta":
        return f"delta_scan({quote_literal(str(table.folder.resolve()))})", ()
    metadata = _current_metadata(table)
    note = f"{table.folder} is read as its newest metadata file says, {metadata.name}"
    return f"iceberg_scan({quote_literal(str(metadata.resolve()))})", (note,)


def _current_metadata(table: LakeTable) -> Path:
    """Return the metadata file of the newest version: no catalog is asked which one counts.

    Raises:
        BadDataError: there are two of them.
    """
    hint = table.log / "version-hint.text"
    if hint.is_file():
        number = hint.read_text("utf-8", "replace").strip()
        for name in (f"v{number}{_METADATA}", f"{number}{_METADATA}"):
            if (table.log / name).is_file():
                return table.log / name
    versions: dict[int, list[Path]] = {}
    for file in table.log.glob(f"*{_METADATA}"):
        found = re.match(r"v?(\d+)", file.name)
        versions.setdefault(int(found[1]) if found else -1, []).append(file)
    newest = versions[max(versions)]
    if len(newest) > 1:
        raise BadDataError(
            f"{table}, and only its catalog knows which of {newest[0].name} and {newest[1].name} "
            f"counts: {_WRITE}"
        )
    return newest[0]


def _what(where: object, kind: LakeKind) -> str:
    return (
        f"{where} is {_NAMES[kind]} table ({_LOGS[kind]} says which of its files count, others "
        "are old)"
    )
