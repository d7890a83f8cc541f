"""The columns of an input: names that SQL can tell apart, and the one with the headlines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import duckdb
import pyarrow as pa

from ..errors import BadDataError, CannotCreateError
from .sql import quote_identifier
from .times.reading import ADDED, TimeReading

TEXT_COLUMNS: Final = (
    *("headline", "title", "text", "sentence"),
    *("headlines", "news_headline", "headline_text", "news_title", "article_title", "news"),
)
"""Names tried in this order when no text column is named; see `io.columns.usual_columns`."""
LABEL_COLUMNS: Final = ("label", "sentiment")
"""Names tried in this order for the label of labelled data."""
SOURCE_COLUMNS: Final = ("source", "source_name", "news_source", "publisher", "provider", "outlet")
"""Names tried in this order for where a headline is from."""
NESTED: Final = b"finsent_nested"
"""Metadata of a text column that holds objects or lists of JSON as they were written."""
SCORED_AT: Final = "scored_at"
DATE_COLUMNS: Final = (
    *("published_at", "date", "time", "datetime", "timestamp", "ts", "created_at", "pub_date"),
    *("published", "published_date", "published_time", "date_published", "publish_date"),
    *("publish_time", "publication_date", "date_time", "news_date", "release_date", "posted_at"),
    *("dt", "ds"),
)
"""Names tried in this order for the time of a headline; where there is none, `SCORED_AT`."""


@dataclass(frozen=True)
class RowSchema:
    """The columns of rows: as Arrow has them and, of a DuckDB table, as DuckDB calls them."""

    arrow: pa.Schema
    duckdb_types: dict[str, str] = field(default_factory=dict)
    """DuckDB's own name of each column's type; empty for rows of anything but its tables."""

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        names: list[str] = self.arrow.names
        return names

    @property
    def from_duckdb(self) -> bool:
        """Whether the rows come from a DuckDB table, with types that only DuckDB knows."""
        return bool(self.duckdb_types)

    def select_list(self) -> str:
        """Return what DuckDB selects from the rows once they came through Arrow.

        Arrow has no ENUM: it comes as text, here and within lists and structs.
        """
        enums = {quote_identifier(c): t for c, t in self.duckdb_types.items() if "ENUM(" in t}
        casts = ", ".join(f"CAST({column} AS {kind}) AS {column}" for column, kind in enums.items())
        return f"* REPLACE ({casts})" if casts else "*"


@dataclass(frozen=True, kw_only=True)
class NewsColumns:
    """Where a table says its news, settled once, when it is scored."""

    text_column: str | None = None
    date_column: str | None = None
    """None where no column holds the time of the news."""
    times: TimeReading = field(default_factory=TimeReading)


def usual_columns(names: Sequence[str], usual: Sequence[str]) -> list[str]:
    """Return the columns that have one of the usual names, in their order.

    Names are the same whatever their case, blanks, dashes and underscores.
    """
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain(name), name)
    return [plain[_plain(name)] for name in usual if _plain(name) in plain]


def named_column(names: Sequence[str], wanted: str) -> str | None:
    """Return the column that a user names: as it is, or else the only one that is nearly so."""
    if wanted in names:
        return wanted
    alike = [name for name in names if _plain(name) == _plain(wanted)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def choose_date_column(names: Sequence[str], wanted: str | None, where: object) -> str | None:
    """Return the column that holds the time of the news, None where no usual name is there.

    Raises:
        BadDataError: there is no column of the wanted name.
    """
    return _choose(names, wanted, DATE_COLUMNS, "--date-column", where)


def choose_source_column(names: Sequence[str], wanted: str | None, where: object) -> str | None:
    """Return the column that says where a headline is from; see `choose_date_column`."""
    return _choose(names, wanted, SOURCE_COLUMNS, "--source-column", where)


def _choose(
    names: Sequence[str], wanted: str | None, usual: Sequence[str], option: str, where: object
) -> str | None:
    if wanted is None:
        return next(iter(usual_columns(names, usual)), None)
    column = named_column(names, wanted)
    if column is None:
        raise BadDataError(
            f"{where} has no column {wanted!r}, named with {option}; it has: " + ", ".join(names)
        )
    return column


def check_column_names(names: list[str], where: object) -> None:
    """Refuse names that differ in nothing but case: DuckDB and SQL cannot tell them apart.

    Raises:
        BadDataError: two columns share a name, or one begins as those that reading times adds.
    """
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold().startswith(ADDED):
            raise BadDataError(
                f"{where} has the column {name!r}; names that begin with {ADDED} are used while "
                "times are read: rename it"
            )
        other = seen.get(name.casefold())
        if other is not None:
            raise BadDataError(
                f"{where} has the column {name!r} more than once"
                + ("" if other == name else f" (also as {other!r})")
                + ": rename one"
            )
        seen[name.casefold()] = name


def choose_text_column(
    schema: RowSchema, wanted: str | None, where: object, *, binary: bool = False
) -> str:
    """Return the name of the headline column, checked to hold text.

    `binary` takes bytes too: text of writers that do not say so, such as Impala.

    Raises:
        BadDataError: no such column, or it holds something other than text.
    """
    names = schema.names
    if wanted is None:
        column = next(iter(usual_columns(names, TEXT_COLUMNS)), None)
        if column is None:
            raise BadDataError(
                f"{where} has none of the columns {', '.join(TEXT_COLUMNS)}: "
                f"name one with --text-column; it has: {', '.join(names)}"
            )
    else:
        column = named_column(names, wanted)
        if column is None:
            raise BadDataError(f"{where} has no column {wanted!r}; it has: {', '.join(names)}")
    kind = schema.arrow.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = [pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null]
    if binary:
        text += [pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view]
    if not any(is_kind(kind) for is_kind in text):
        raise BadDataError(
            f"column {column!r} of {where} holds {kind}, not text: "
            "name the headline column with --text-column"
        )
    if NESTED in (schema.arrow.field(column).metadata or {}):
        raise BadDataError(
            f"column {column!r} of {where} holds JSON objects or lists, not text alone: write its "
            "text under a key of its own, or name the headline column with --text-column"
        )
    return column


# Asking DuckDB about these as well would cost each run the start of a database.
_TYPES_OF_DUCKDB: Final = frozenset({
    pa.string(), pa.large_string(), pa.bool_(), pa.int16(), pa.int32(), pa.int64(),
    pa.float32(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"),
})  # fmt: skip


def check_duckdb_columns(schema: pa.Schema, where: str) -> None:
    """Raise CannotCreateError if DuckDB has no type for a column."""
    asked = [field for field in schema if field.metadata or field.type not in _TYPES_OF_DUCKDB]
    if not asked:
        return
    with duckdb.connect(":memory:") as connection:
        for field in asked:
            empty = pa.RecordBatchReader.from_batches(pa.schema([field.with_name("c")]), [])
            try:
                connection.from_arrow(empty).fetchall()
            except duckdb.Error:
                raise CannotCreateError(
                    f"{where}: DuckDB, which writes CSV and tables, has no type for the column "
                    f"{field.name!r} ({field.type}): write to .parquet"
                ) from None
