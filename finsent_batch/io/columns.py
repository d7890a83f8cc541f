"""The columns of an input: names that SQL can tell apart, and the one with the headlines."""

import duckdb
import pyarrow as pa

from ..config import TEXT_COLUMNS
from ..errors import BadDataError, CannotCreateError


def check_column_names(names: list[str], where: object) -> None:
    """Refuse names that differ in nothing but case: DuckDB and SQL cannot tell them apart.

    Raises:
        BadDataError: two columns share a name.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name.casefold())
        if other is not None:
            raise BadDataError(
                f"{where} has the column {name!r} more than once"
                + ("" if other == name else f" (also as {other!r})")
                + ": rename one"
            )
        seen[name.casefold()] = name


def choose_text_column(schema: pa.Schema, wanted: str | None, where: object) -> str:
    """Return the name of the headline column, checked to hold text.

    Raises:
        BadDataError: no such column, or it holds something other than text.
    """
    names = schema.names
    if wanted is None:
        wanted = next((name for name in TEXT_COLUMNS if name in names), None)
        if wanted is None:
            raise BadDataError(
                f"{where} has none of the columns {', '.join(TEXT_COLUMNS)}: "
                f"name one with --text-column; it has: {', '.join(names)}"
            )
    if wanted not in names:
        raise BadDataError(f"{where} has no column {wanted!r}; it has: {', '.join(names)}")
    kind = schema.field(wanted).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(is_kind(kind) for is_kind in text):
        raise BadDataError(
            f"column {wanted!r} of {where} holds {kind}, not text: "
            "name the headline column with --text-column"
        )
    return wanted


def check_duckdb_columns(schema: pa.Schema, where: str) -> None:
    """Raise CannotCreateError if DuckDB has no type for a column."""
    with duckdb.connect(":memory:") as connection:
        for field in schema:
            empty = pa.RecordBatchReader.from_batches(pa.schema([field.with_name("c")]), [])
            try:
                connection.from_arrow(empty).fetchall()
            except duckdb.Error:
                raise CannotCreateError(
                    f"{where}: DuckDB, which writes CSV and tables, has no type for the column "
                    f"{field.name!r} ({field.type}): write to .parquet"
                ) from None
