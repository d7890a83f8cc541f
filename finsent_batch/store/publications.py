"""What was published: which output of each input counts, and what was settled about its columns."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import duckdb

from ..errors import MissingInputError, UsageError
from ..io.append.day_files import complete_for_readers, files_of, pattern_of
from ..io.columns import NewsColumns
from ..io.duckdb_append import AppendingSink, input_name
from ..io.duckdb_files import TableEntry, attached, tables_of
from ..io.lake.delta import is_delta
from ..io.objects.addresses import is_address
from ..io.parquet import ParquetSink
from ..io.paths import format_of
from ..io.times.reading import UTC, TimeReading
from .store import Store

# The clock may have been set back since: the number counts on.
NEWEST: Final = "number DESC NULLS LAST, published_at DESC"
"""The order of `run_files`, the last publication first."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A file of labelled rows or, in a DuckDB file, a table."""

    path: str
    """The file or, of an input's files in a folder by days, their pattern."""
    table: str | None = None
    inputs: tuple[str, ...] | None = None
    """The inputs whose rows are meant, of a table that inputs share; None for all rows."""
    columns: NewsColumns | None = None
    """Where the news stand, as it was settled when they were scored; None where nobody did."""
    made_from: tuple[str, ...] = ()
    """The inputs that it was made from."""
    rows: int = 0
    undated: int | None = None
    """Rows whose time cannot be read; None where it was not recorded."""
    faults: dict[str, int] = field(default_factory=dict)
    """Why, and of how many rows."""
    limited: bool = False
    """Whether it holds the first rows of its input alone."""
    contents: tuple[str, ...] = ()
    """Digests of the news of each input; see `pipeline.news_times`."""


def publications_of(store: Store, run_id: str) -> tuple[list[str], list[Publication]]:
    """Return the names of all that a run published, and what of it still is what it published.

    What a later run replaced is left out, a whole output or an input's rows in a table that
    inputs share, unless it put the same there: the same news, scored by the same model.
    """
    rows = records(
        store,
        f"""WITH written AS (
            SELECT f.*, row(f.input, input_table, content, row_limit, text_column, date_column,
                model_fingerprint) AS what
            FROM run_files AS f LEFT JOIN runs USING (run_id))
        SELECT *, row_limit IS NOT NULL AS limited,
            own = 1 OR (content IS NOT NULL AND what = now_of_input) AS latest,
            last = $1 OR (content IS NOT NULL AND what = now_there) AS last_writer
        FROM (SELECT *,
                row_number() OVER of_input AS own, first(what) OVER of_input AS now_of_input,
                first(run_id) OVER there AS last, first(what) OVER there AS now_there
            FROM written
            WINDOW there AS (PARTITION BY output, output_table ORDER BY {NEWEST}),
                of_input AS (PARTITION BY output, output_table, input, input_table
                    ORDER BY {NEWEST}))
        WHERE run_id = $1 ORDER BY output, output_table, input, input_table""",
        [run_id],
    )
    names: dict[str, None] = {}
    found = []
    for row in rows:
        names[input_name(row["output"], row["output_table"])] = None
        if not is_there(row):
            continue
        row["shared"] = is_shared(store.connection, row["output"], row["output_table"])
        if row["latest"] if row["shared"] else row["last_writer"]:
            found.append(row)
    return list(names), grouped(found)


def grouped(rows: Iterable[dict[str, Any]]) -> list[Publication]:
    """Return rows of `run_files`, each with `shared` and `limited`, as publications: one a target.

    The rows of a table that inputs share may say their news in different columns.
    """
    groups: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for row in rows:
        group = (path_of(row), row["output_table"], columns_of(row) if row["shared"] else None)
        groups.setdefault(group, []).append(row)
    return [_publication(group) for group in groups.values()]


def records(store: Store, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
    """Return the rows that SQL gives, by column name."""
    found = store.connection.execute(sql, list(parameters))
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def path_of(row: dict[str, Any]) -> str:
    """Return the file that a row of `run_files` is about, or the pattern of files by days."""
    output = str(row["output"])
    if row["output_table"] is None and _is_by_days(Path(output)):
        return pattern_of(output, row["input"], row["input_table"])
    return output


def _is_by_days(output: Path) -> bool:
    return output.is_dir() and not is_delta(output)


def is_there(row: dict[str, Any]) -> bool:
    """Whether a file that a row of `run_files` is about is there, or one of those by days.

    An object in a bucket is taken to be there.

    Raises:
        TryAgainError: see `complete_for_readers`.
    """
    if is_address(row["output"]):  # who reads it finds out
        return True
    output = Path(row["output"])
    if row["output_table"] is not None or not _is_by_days(output):
        return output.exists()
    complete_for_readers(output)
    return bool(files_of(output, row["input"], row["input_table"]))


def columns_of(row: dict[str, Any]) -> NewsColumns | None:
    """Return where the news stand, as a row of `run_files` says; None where it does not."""
    if row["text_column"] is None:
        return None
    times = TimeReading(date_format=row["date_format"], timezone=row["timezone"] or UTC)
    return NewsColumns(text_column=row["text_column"], date_column=row["date_column"], times=times)


def _publication(rows: list[dict[str, Any]]) -> Publication:
    first = rows[0]  # of a file, the last that wrote it
    names = tuple(input_name(row["input"], row["input_table"]) for row in rows)
    whole = Publication(
        path=path_of(first),
        table=first["output_table"],
        columns=columns_of(first),
        made_from=names,
        rows=first["rows"] or 0,
        undated=first["undated"],
        faults=json.loads(first["faults"] or "{}"),
        limited=first["limited"],
        contents=tuple(row["content"] for row in rows[:1] if row["content"]),
    )
    if not first["shared"]:
        return whole
    known = all(row["undated"] is not None for row in rows)
    faults: dict[str, int] = {}
    for row in rows:
        for reason, count in json.loads(row["faults"] or "{}").items():
            faults[reason] = faults.get(reason, 0) + count
    return replace(
        whole,
        inputs=names,
        rows=sum(row["rows"] or 0 for row in rows),
        undated=sum(row["undated"] for row in rows) if known else None,
        faults=faults,
        limited=any(row["limited"] for row in rows),
        contents=tuple(row["content"] for row in rows if row["content"]),
    )


def is_shared(connection: duckdb.DuckDBPyConnection, path: str, table: str | None) -> bool:
    """Return whether a target is a table or folder that collects inputs with `--append`."""
    if table is None:
        if is_address(path):  # objects of rows have a suffix, a Delta table's prefix has none
            return format_of(Path(path)) is None
        return Path(path).is_dir()
    made = AppendingSink(connection, Path(path), table).provenance()
    return made is not None and made.append


def divided(name: str) -> tuple[str, str]:
    """Return the file and the table that FILE or FILE.duckdb::TABLE names.

    A file that is there under the whole name is meant by it.
    """
    path, _, table = name.rpartition("::") if "::" in name else (name, "", "")
    return (name, "") if not path or Path(name).exists() else (path, table)


def named(published: str) -> Publication:
    """Return what a user names as FILE or FILE.duckdb::TABLE.

    Raises:
        MissingInputError: no such file.
        UsageError: a folder.
    """
    path, table = divided(published)
    if not Path(path).exists():
        raise MissingInputError(f"{path} does not exist: check --from")
    if Path(path).is_dir():
        raise UsageError(f"--from {path} is a folder: name one scored file in it")
    made = None if table else ParquetSink(Path(path)).provenance()
    if made is None or not made.settled:
        return Publication(path=path, table=table or None)
    columns = columns_of(made.to_json())
    return Publication(path=path, columns=columns, limited=made.limit is not None)


def forget_input(store: Store, name: str) -> int:
    """Count no output of an input any more, until it is scored again; returns how many there were.

    Neither files nor scores are touched.

    Raises:
        UsageError: the store knows no such input.
    """
    path, table = divided(name)
    paths = [path, str(Path(path).expanduser().resolve())]
    known = (
        "input IN (?, ?) AND lower(input_table) IS NOT DISTINCT FROM lower(?) "
        "AND forgotten_at IS NULL"
    )
    parameters = [*paths, table or None]
    [(outputs,)] = store.query(f"SELECT count(*) FROM run_files WHERE {known}", parameters)
    if not outputs:
        rows = store.query(
            "SELECT DISTINCT input, input_table FROM run_files WHERE forgotten_at IS NULL "
            "ORDER BY ALL LIMIT 20"
        )
        there = ", ".join(input_name(*row) for row in rows) or "none"
        raise UsageError(f"the store {store.path} counts no input {name}; it counts: {there}")
    store.connection.execute(
        f"UPDATE run_files SET forgotten_at = now() AT TIME ZONE 'UTC' WHERE {known}", parameters
    )
    return int(outputs)


def table_names_of(connection: duckdb.DuckDBPyConnection, path: str) -> dict[str, TableEntry]:
    """Return a DuckDB file's tables and views by name."""
    with attached(connection, Path(path)) as (cursor, catalog):
        return tables_of(cursor, catalog)
