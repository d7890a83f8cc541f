"""A store as a folder of Parquet files, and back: for backup, and to join two stores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from ..errors import (
    BadDataError,
    CannotCreateError,
    ConfigError,
    MissingInputError,
    StorageError,
    first_line,
)
from ..io.atomic import force_to_disk, make_folder, sha256_file, temporary_of
from ..io.duckdb_errors import Kind, classify
from ..io.paths import check_inside
from ..io.sql import quote_literal
from ..io.text.parsing import parse_json
from ..io.whole.folders import locked_folder
from .schema import SCHEMA_VERSION
from .store import Store, utc_now
from .verify import inconsistencies
from .views import refresh_views

MANIFEST = "store.json"
FORMAT_VERSION = 1

# What makes a row of a table the same row; None for all its columns. `hashed_files` is left
# out: it is about files of one machine.
_KEYS: dict[str, str | None] = {
    "models": "model_fingerprint",
    "runs": "run_id",
    "scores": "headline_key, model_fingerprint",
    "run_files": None,
    "quarantine": None,
    "evaluations": None,
    "nights": None,
    "review_samples": None,
    "reviews": None,
    # A promotion rolled back since the export must not come back as another row.
    "promotions": "promoted_at, model_fingerprint",
}


def export_store(store: Store, folder: Path) -> dict[str, int]:
    """Write a store's tables as Parquet files with a manifest; returns the rows of each.

    The folder appears whole or not at all.

    Raises:
        CannotCreateError: the folder exists or cannot be made.
        TryAgainError: another process is exporting to it.
        StorageError: writing failed.
    """
    if folder.exists():
        raise CannotCreateError(f"{folder} exists: name a new folder with -o")
    check_inside(folder, folder.parent)
    try:
        make_folder(folder.parent)
        with locked_folder(temporary_of(folder)) as temporary:
            tables = {name: _write(store, name, temporary / f"{name}.parquet") for name in _KEYS}
            manifest = {
                "format_version": FORMAT_VERSION,
                "schema_version": SCHEMA_VERSION,
                "exported_at": utc_now().isoformat(timespec="seconds") + "Z",
                "tables": tables,
            }
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
            force_to_disk(temporary / MANIFEST)
            force_to_disk(temporary)
            temporary.rename(folder)
            force_to_disk(folder.parent)
    except PermissionError as error:
        raise CannotCreateError(f"cannot write {folder} ({error.strerror})") from None
    except (OSError, duckdb.IOException) as error:
        if classify(error) is Kind.DAMAGED:
            raise  # of the store, which says so itself
        raise StorageError(f"writing {folder} failed ({first_line(error)}): try again") from None
    return {name: entry["rows"] for name, entry in tables.items()}


def _write(store: Store, table: str, file: Path) -> dict[str, Any]:
    [(rows,)] = store.query(
        f"COPY {table} TO {quote_literal(str(file))} (FORMAT parquet, COMPRESSION zstd)"
    )
    force_to_disk(file)
    return {"rows": rows, "sha256": sha256_file(file)}


def import_store(store: Store, folder: Path) -> dict[str, int]:
    """Add what an export holds and the store lacks, all or nothing; returns the rows added.

    What the store has stays as it is, so that an import may be repeated.

    Raises:
        MissingInputError: the folder is no export.
        ConfigError: a newer version wrote it.
        BadDataError: a file is missing or damaged, or what it says does not hold together.
    """
    version = check_export(folder)
    added = dict.fromkeys(_KEYS, 0)
    with store.transaction() as connection:
        for table, key in _KEYS.items():
            file = folder / f"{table}.parquet"
            if version < SCHEMA_VERSION and not file.exists():
                continue
            try:
                added[table] = _add(connection, table, key, file, older=version < SCHEMA_VERSION)
            except duckdb.Error as error:
                raise BadDataError(f"{file} does not fit: {first_line(error)}") from None
        findings = inconsistencies(store)
        if findings:
            raise BadDataError(
                f"with {folder} the store would not be sound: {'; '.join(findings)}; "
                "nothing was imported"
            )
    refresh_views(store)
    return added


def _add(
    connection: duckdb.DuckDBPyConnection, table: str, key: str | None, file: Path, *, older: bool
) -> int:
    """Add the rows that a table lacks; columns that an older export lacks are left NULL."""
    rows = f"read_parquet({quote_literal(str(file))})"
    given = {row[0] for row in connection.execute(f"DESCRIBE FROM {rows}").fetchall()}
    names = [row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()]
    listed = [name for name in names if name in given or not older]
    columns = ", ".join(listed)
    if table == "run_files":
        return _add_publications(connection, rows, listed)
    known = f"ANTI JOIN {table} USING ({key})" if key else f"EXCEPT SELECT {columns} FROM {table}"
    sql = f"INSERT INTO {table} BY NAME SELECT {columns} FROM {rows} {known}"
    added: int = connection.execute(sql).fetchall()[0][0]
    return added


def _add_publications(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[str]
) -> int:
    """Add publications and number all anew: each store's in its order, by their times among them.

    Their numbers, which count on in each store for itself, say which of them is the last.
    """
    number = "number" if "number" in columns else "NULL::BIGINT AS number"
    others = [name for name in columns if name != "number"]
    same = " AND ".join(f"known.{name} IS NOT DISTINCT FROM given.{name}" for name in others)
    connection.execute(f"""CREATE OR REPLACE TEMP TABLE given AS
        SELECT DISTINCT {", ".join(others)}, {number} FROM {rows} AS given
        WHERE NOT EXISTS (FROM run_files AS known WHERE {same})""")
    connection.execute("""CREATE OR REPLACE TEMP TABLE renumbered AS
        WITH publications AS (
            SELECT rowid AS place, false AS is_given, number, published_at FROM run_files
            UNION ALL SELECT rowid, true, number, published_at FROM given
        ), timed AS (
            SELECT *, max(published_at) OVER (PARTITION BY is_given
                ORDER BY number NULLS FIRST, published_at NULLS FIRST, place) AS latest
            FROM publications
        ) SELECT place, is_given, row_number() OVER (ORDER BY latest NULLS FIRST, is_given DESC,
            number NULLS FIRST, published_at NULLS FIRST, place) AS number FROM timed""")
    if connection.execute("SELECT bool_or(is_given) AND NOT bool_and(is_given) FROM renumbered"
                          ).fetchall() == [(True,)]:  # fmt: skip
        for table, which in (("run_files", "NOT is_given"), ("given", "is_given")):
            connection.execute(f"""UPDATE {table} SET number = renumbered.number FROM renumbered
                WHERE {table}.rowid = place AND {which}""")
    added: int = connection.execute("INSERT INTO run_files BY NAME FROM given").fetchall()[0][0]
    return added


def check_export(folder: Path) -> int:
    """Return the schema of a whole export that this version can read; see `import_store`."""
    try:
        manifest = parse_json((folder / MANIFEST).read_text("utf-8"))
        version, tables = int(manifest["schema_version"]), manifest["tables"]
        # Exports of earlier schemas have fewer tables.
        names = [name for name in _KEYS if name in tables or version >= SCHEMA_VERSION]
        expected = {name: tables[name]["sha256"] for name in names}
    except (FileNotFoundError, NotADirectoryError):
        raise MissingInputError(
            f"{folder} is not an export of a store: it has no {MANIFEST}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise BadDataError(f"{folder}/{MANIFEST} is damaged: take another export") from None
    if manifest.get("format_version") != FORMAT_VERSION or version > SCHEMA_VERSION:
        raise ConfigError(f"{folder} was written by a newer version: upgrade finsent-batch")
    for name, digest in expected.items():
        file = folder / f"{name}.parquet"
        if not file.exists() or sha256_file(file) != digest:
            raise BadDataError(f"{file} is missing or damaged: take another export")
    return version
