"""How SQL reads what was published: named exactly, nothing guessed from paths or first rows."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import duckdb

from ..errors import BadDataError, UsageError, first_line
from ..io.append.day_files import DAY, EVERY_DAY
from ..io.columns import NewsColumns
from ..io.duckdb_append import INPUT_COLUMN
from ..io.duckdb_files import TableEntry, own_table
from ..io.lake.delta import is_delta, live_files
from ..io.paths import declared_compression, format_of, suffix_of
from ..io.result_columns import RESULT_SCHEMA
from ..io.sql import check_utf8, database_literal, quote_literal
from ..io.text.compression import open_unpacked
from .publications import Publication, table_names_of

LARGEST_CSV_ROW = 1 << 28
"""Bytes of a row of a published CSV file that SQL still reads."""
LARGEST_BUFFERED_ROW = 1 << 24
"""The same of compressed files and JSON lines, for which DuckDB takes twice the memory."""
Kind = Literal["parquet", "days", "csv", "tsv", "jsonl", "duckdb"]
"""`days` are Parquet files that take their time from their folders' day."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file or table that is there, with what SQL must know to read it."""

    kind: Kind
    source: str
    """The file's path, or what to select from for a DuckDB table."""
    columns: tuple[tuple[str, str], ...]
    """Names and SQL types."""
    news: NewsColumns | None = None
    """Where its news stand; None where nobody settled it."""
    file: str | None = None
    """The path of its file, for a view that must know whether it is there."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(name for name, _ in self.columns)


def restrict_file_access(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """Let SQL reach nothing but what is attached and these files, whatever their views say.

    Raises:
        UsageError: a path that DuckDB cannot be told.
    """
    known = {name for path in paths for name in (path, str(Path(path).resolve()))}
    folders = {path.partition(f"/{EVERY_DAY}/")[0] for path in known if f"/{EVERY_DAY}/" in path}
    folders |= {path for path in known if is_delta(Path(path))}
    for path in known:
        check_utf8(path)
    # Beside a database DuckDB may read its write-ahead log.
    logs = {f"{path}.wal" for path in known if suffix_of(Path(path)) == ".duckdb"}
    allowed = known | logs | {literal_path(path) for path in known}
    listed = ", ".join(quote_literal(path) for path in sorted(allowed))
    connection.execute(f"SET allowed_paths = [{listed}]")
    if folders:
        listed = ", ".join(quote_literal(f"{folder}/") for folder in sorted(folders))
        connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")


def describe(
    connection: duckdb.DuckDBPyConnection, publication: Publication, *, in_place: bool = False
) -> Table:
    """Look at a published file or table.

    `in_place` reads a DuckDB table without attaching its file, as a view that the
    store keeps must.

    Raises:
        BadDataError: it cannot be read.
        MissingInputError: the DuckDB file has no such table.
        UsageError: a DuckDB file without a table named.
    """
    path = publication.path
    kind: Kind = "parquet"
    source = path
    written_as = format_of(Path(path))
    file = None
    if is_delta(Path(path)):
        files = live_files(Path(path))
        kind, source, file = "duckdb", _delta_sql(files, publication), next(iter(files), None)
    elif suffix_of(Path(path)) == ".duckdb":
        kind, source = "duckdb", _table_sql(connection, publication, in_place=in_place)
    elif written_as in ("csv", "tsv", "jsonl"):
        kind = "csv" if written_as == "csv" else "tsv" if written_as == "tsv" else "jsonl"
        names = _json_keys(publication) if kind == "jsonl" else _csv_header(Path(path), kind)
        columns = tuple((name, "VARCHAR") for name in names)
        return Table(kind=kind, source=source, columns=columns, news=publication.columns)
    try:
        described = connection.execute(
            f"DESCRIBE SELECT * FROM {relation_sql(kind, [source])}"
        ).fetchall()
    except duckdb.Error as error:
        raise BadDataError(f"{path} cannot be read: {first_line(error)}") from None
    columns = tuple((row[0], row[1]) for row in described)
    news = publication.columns
    if news and news.date_column == DAY and all(name != DAY for name, _ in columns):
        kind, columns = "days", (*columns, (DAY, "DATE"))
    return Table(kind=kind, source=source, columns=columns, news=news, file=file)


def relation_sql(kind: str, sources: Sequence[str], names: Sequence[str] = ()) -> str:
    """Return what to select from: files of one kind together, or one DuckDB table.

        `names` are a text file's columns. A file that is gone gives no rows; when all are, the
    relation has no columns of theirs. Folders called `key=value` add nothing and replace
    nothing, but for the day that `days` take from theirs.
    """
    if kind == "duckdb":
        return sources[0]
    files = ", ".join(quote_literal(literal_path(source)) for source in sources)
    if kind in ("parquet", "days"):
        hive = f"true, hive_types = {{'{DAY}': DATE}}" if kind == "days" else "false"
        return f"read_parquet([{files}], allow_empty = true, hive_partitioning = {hive})"
    columns = ", ".join(f"{quote_literal(name)}: 'VARCHAR'" for name in names)
    if kind == "jsonl":
        return (
            f"read_json([{files}], format = 'newline_delimited', columns = {{{columns}}}, "
            f"maximum_object_size = {LARGEST_BUFFERED_ROW}, allow_empty = true, "
            "hive_partitioning = false)"
        )
    delimiter = "\t" if kind == "tsv" else ","
    largest = f"max_line_size = {LARGEST_CSV_ROW}"
    if any(declared_compression(Path(source)) for source in sources):
        size = LARGEST_BUFFERED_ROW
        largest = f"max_line_size = {size}, buffer_size = {2 * size}"
    return (
        f"read_csv([{files}], auto_detect = false, header = true, columns = {{{columns}}}, "
        f"delim = '{delimiter}', "
        "quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, "
        f"{largest}, allow_empty = true, hive_partitioning = false)"
    )


def literal_path(path: str) -> str:
    """Return a path as DuckDB's file functions take it for itself, not for a pattern.

    Of the pattern of an input's files by days, only the day stays one.
    """
    before, days, name = path.rpartition(f"/{EVERY_DAY}/")
    before, name = ("".join(f"[{c}]" if c in "[*?" else c for c in p) for p in (before, name))
    return before + days + name


def _open_text(file: Path) -> IO[str]:
    return io.TextIOWrapper(open_unpacked(file), encoding="utf-8-sig", newline="")


def _json_keys(publication: Publication) -> list[str]:
    """Read the keys of a published file's first object: `score` writes all of them in each.

    Raises:
        BadDataError: it is no object.
    """
    file = Path(publication.path)
    try:
        with _open_text(file) as stream:
            line = stream.readline()
        if not line and publication.columns is not None:  # of an input without rows
            news = (publication.columns.text_column, publication.columns.date_column)
            return [*filter(None, news), *RESULT_SCHEMA.names]
        return list(dict(json.loads(line)))
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise BadDataError(f"{file} cannot be read: {first_line(error)}") from None


def _csv_header(file: Path, kind: Kind) -> list[str]:
    """Read the names of a published CSV or TSV file's columns.

    Raises:
        BadDataError: it has none, or is no text.
    """
    delimiter = "\t" if kind == "tsv" else ","
    try:
        with _open_text(file) as stream:
            names: list[str] = next(csv.reader(stream, strict=True, delimiter=delimiter), [])
    except (UnicodeError, OSError, EOFError, csv.Error) as error:
        raise BadDataError(f"{file} cannot be read: {first_line(error)}") from None
    names = [name or f"column{number}" for number, name in enumerate(names)]
    if len({name.casefold() for name in names}) < max(len(names), 1):
        raise BadDataError(f"{file} cannot be read: its header names no columns, or one twice")
    return names


def _table_sql(
    connection: duckdb.DuckDBPyConnection, publication: Publication, *, in_place: bool
) -> str:
    path, table = publication.path, publication.table
    found = table_names_of(connection, path)
    if table is None:
        raise UsageError(
            f"{path}: name one of its tables, as {path}::TABLE; it has: {', '.join(found)}"
        )
    called = own_table(found, table, path)
    if in_place:
        sql = _read_in_place(path, found[called])
    else:
        listed = "SELECT path, database_name FROM duckdb_databases()"
        known = dict(connection.execute(listed).fetchall())
        if path not in known:
            known[path] = f"news_{len(known)}"
            connection.execute(
                f"ATTACH {database_literal(Path(path))} AS {known[path]} (READ_ONLY)"
            )
        sql = found[called].sql(known[path])
    if publication.inputs is None:
        return sql
    inputs = ", ".join(map(quote_literal, publication.inputs))
    # Of a file that is gone the column is still there.
    none = f"SELECT CAST(NULL AS VARCHAR) AS {INPUT_COLUMN} WHERE false"
    whole = f"({none} UNION ALL BY NAME FROM {sql})" if in_place else sql
    return f"(SELECT * FROM {whole} WHERE {INPUT_COLUMN} IN ({inputs}))"


def _delta_sql(files: Sequence[str], publication: Publication) -> str:
    """Return what to select from for the rows that count in a Delta table.

    A file that is gone is an error: the table has other files by then.
    """
    listed = ", ".join(quote_literal(literal_path(file)) for file in files)
    rows = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    if publication.inputs is None:
        return rows
    inputs = ", ".join(map(quote_literal, publication.inputs))
    return f"(SELECT * FROM {rows} WHERE {INPUT_COLUMN} IN ({inputs}))"


def _read_in_place(path: str, table: TableEntry) -> str:
    # Only a pattern may match nothing: a file that is gone then gives no rows.
    folder, slash, file = literal_path(path).rpartition("/")
    pattern = f"{folder}{slash}{file if file.startswith('[') else f'[{file[0]}]{file[1:]}'}"
    return (
        f"read_duckdb([{quote_literal(pattern)}], schema_name = {quote_literal(table.schema)}, "
        f"table_name = {quote_literal(table.name)}, allow_empty = true)"
    )
