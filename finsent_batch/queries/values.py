"""What DuckDB's types become where a format, Arrow or a terminal has none for them."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from ..io.sql import quote_identifier

_WIDE: Final = frozenset({"hugeint", "uhugeint"})
_TEXT_IN_ARROW: Final = frozenset({"union", "interval", "bit", "bignum", "geometry", "variant"})
_FLOATS: Final = frozenset({"float", "double"})
_NUMBERS: Final = _FLOATS | {
    "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger",
    "ubigint", "uhugeint", "decimal",
}  # fmt: skip
_LARGEST_DECIMAL: Final = 10**38

Column = tuple[str, Any]
"""A result's column: its name and DuckDB type."""
Expression = Callable[[Column], str]


def as_is(column: Column) -> str:
    """Return the column."""
    return quote_identifier(column[0])


def for_json(column: Column) -> str:
    """Return SQL for a value that JSON can hold: no NaN, and floats with the digits they have."""
    return _json(quote_identifier(column[0]), column[1])


def for_parquet(column: Column) -> str:
    """Return the column; an UUID, which many readers of Parquet take for bytes, as text."""
    sql = quote_identifier(column[0])
    return f"CAST({sql} AS VARCHAR)" if column[1].id == "uuid" else sql


def for_arrow(column: Column) -> str:
    """Return SQL for a value that Arrow and polars can hold: text where they have no type."""
    name, kind = column
    sql = quote_identifier(name)
    return f"CAST({sql} AS VARCHAR)" if _has(kind, _TEXT_IN_ARROW) else sql


def for_reading(column: Column) -> str:
    """Return SQL for a value that people read: a number, true or false, else text."""
    name, kind = column
    sql = quote_identifier(name)
    if kind.id == "float":
        return _shortest(sql)
    return sql if kind.id in _NUMBERS | {"boolean"} else f"CAST({sql} AS VARCHAR)"


def for_terminal(column: Column) -> str:
    """Return SQL for a value on a terminal: as `for_reading`, but times to the second."""
    sql = for_reading(column)
    if column[1].id.startswith("timestamp"):
        return f"regexp_replace({sql}, '\\.\\d+', '')"
    return sql


def exact(column: Column, expression: Expression, largest: int | None) -> str:
    """Return SQL for a column of up to 128 bits, which files and Arrow know as a decimal only.

    `largest` is the largest magnitude it holds; what has 39 digits becomes text.
    """
    name, kind = column
    if kind.id not in _WIDE:
        return expression(column)
    fits = largest is None or largest < _LARGEST_DECIMAL
    return f"CAST({quote_identifier(name)} AS {'DECIMAL(38, 0)' if fits else 'VARCHAR'})"


def is_wide(column: Column) -> bool:
    """Return whether a column's integers may have more than 64 bits."""
    return column[1].id in _WIDE


def _has(kind: Any, wanted: frozenset[str]) -> bool:
    return kind.id in wanted or any(_has(child, wanted) for _, child in _children(kind))


def _children(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield a nested type's parts that are types themselves: an array's size is none."""
    if kind.id in ("list", "array", "struct", "map", "tuple", "union"):
        yield from (child for child in kind.children if not isinstance(child[1], int))


def _shortest(sql: str) -> str:
    """Return SQL for a FLOAT as the DOUBLE of the same few digits: 0.1, not 0.10000000149."""
    return f"CAST(CAST({sql} AS VARCHAR) AS DOUBLE)"


def _json(sql: str, kind: Any) -> str:
    if not _has(kind, _FLOATS):
        return sql
    if kind.id in _FLOATS:
        number = _shortest(sql) if kind.id == "float" else sql
        return f"CASE WHEN isfinite({sql}) THEN {number} END"
    parts = dict(_children(kind))
    match kind.id:
        case "list" | "array":
            return f"list_transform({sql}, lambda e: {_json('e', parts['child'])})"
        case "struct":
            fields = (
                f"{quote_identifier(name)} := {_json(f'{sql}.{quote_identifier(name)}', child)}"
                for name, child in parts.items()
            )
            made = f"struct_pack({', '.join(fields)})"
        case "map":
            entry = f"struct_pack(k := e.key, v := {_json('e.value', parts['value'])})"
            made = f"map_from_entries(list_transform(map_entries({sql}), lambda e: {entry}))"
        case "tuple":
            children = [child for _, child in _children(kind)]
            fields = (_json(f"{sql}[{i}]", child) for i, child in enumerate(children, 1))
            made = f"row({', '.join(fields)})"
        case _:  # a union's number stays as it is
            return sql
    return f"CASE WHEN {sql} IS NOT NULL THEN {made} END"
