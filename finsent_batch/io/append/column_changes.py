"""What a table that nights share does with a night whose columns are not its own."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ..sql import own_name, quote_identifier, quote_literal
from ..times.reading import ZONED

UNTYPED: Final = '"NULL"'
"""What DuckDB calls the type of a column that has never held a value."""
CANNOT_HOLD: Final = "finsent-batch: cannot hold"
"""How the error of a value begins that its column cannot hold exactly."""
_SIGNED: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_UNSIGNED: Final = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_WIDER: Final[Mapping[str, tuple[str, ...]]] = {
    **{kind: _SIGNED[i + 1 :] for i, kind in enumerate(_SIGNED)},
    **{kind: (*_UNSIGNED[i + 1 :], *_SIGNED[i + 1 :]) for i, kind in enumerate(_UNSIGNED)},
    "FLOAT": ("DOUBLE",),
    "DATE": ("TIMESTAMP",),
    "TIMESTAMP_S": ("TIMESTAMP_MS", "TIMESTAMP"),
    "TIMESTAMP_MS": ("TIMESTAMP",),
}
"""The types that hold every value of a type, the narrowest first."""
_EXACT_IN_DOUBLE: Final = ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER")


@dataclass(frozen=True, kw_only=True)
class ColumnPolicy:
    """What becomes of columns that differ; `fail` refuses the night before anything is scored."""

    new: str = "fail"
    """`fail`, `add` to the table, NULL in its old rows, or `drop`."""
    missing: str = "fail"
    """`fail`, or `null`: NULL in the night's rows."""
    types: str = "fail"
    """`fail`, `widen` the column where a type holds all values of both, or `cast` the night's
    values to the table's type where it holds each of them exactly."""
    zone: str | None = None
    """The zone other than UTC in which times without one are read, of the night or of rows in
    the table: there a time without a zone is another moment than a date or a time with one."""
    times: frozenset[str] = frozenset()
    """In which columns those times are, in small letters."""


class UnfitColumnsError(Exception):
    """A column differs that the policy refuses; says which, and which option would take it."""


@dataclass(kw_only=True)
class ColumnFit:
    """How a night's columns come into a table; names as the night or the table writes them."""

    added: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    widened: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The type that the table's column had, and the one it gets."""
    cast: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The type that the night's column has, and the table's."""
    reordered: bool = False

    def told(self) -> list[str]:
        """Return each change in words."""
        lines = [f"column {name!r} was added" for name in self.added]
        lines += [f"column {name!r} was left out" for name in self.dropped]
        lines += [f"column {name!r} is missing and NULL" for name in self.missing]
        for verb, kinds in (("widened", self.widened), ("cast", self.cast)):
            lines += [f"column {n!r} was {verb} from {a} to {b}" for n, (a, b) in kinds.items()]
        return [*lines, "the columns came in another order"] if self.reordered else lines

    def alterations(self, table: str) -> Iterator[str]:
        """Yield the statements that make room in the table."""
        for name, kind in self.added.items():
            yield f"ALTER TABLE {table} ADD COLUMN {quote_identifier(name)} {kind}"
        for name, (_, kind) in self.widened.items():
            yield f"ALTER TABLE {table} ALTER {quote_identifier(name)} TYPE {kind}"

    def select_list(self) -> str:
        """Return what is selected from the night's rows."""
        dropped = ", ".join(map(quote_identifier, self.dropped))
        casts = ", ".join(
            f"{_exactly(name, had, wanted)} AS {quote_identifier(name)}"
            for name, (had, wanted) in self.cast.items()
        )
        return (
            "*"
            + (f" EXCLUDE ({dropped})" if dropped else "")
            + (f" REPLACE ({casts})" if casts else "")
        )


def fit_columns(
    there: Mapping[str, tuple[str, str]],
    given: Mapping[str, tuple[str, str]],
    policy: ColumnPolicy,
) -> ColumnFit:
    """Return how a night's columns come into a table; both map folded names to (name, type).

    Raises:
        UnfitColumnsError: a column differs that the policy refuses.
    """
    fit = ColumnFit()
    for key, (name, kind) in there.items():
        if key not in given:
            if policy.missing == "fail":
                raise UnfitColumnsError(
                    f"has the column {key!r}, the input has not: take it as NULL with "
                    "--on-missing-columns null, alter the table"
                )
            fit.missing.append(name)
        elif (other := given[key][1]) != kind and UNTYPED not in (kind, other):
            _fit_type(fit, policy, given[key][0], kind, other)
    for key, (name, kind) in given.items():
        if key in there:
            continue
        if policy.new == "fail":
            raise UnfitColumnsError(
                f"has no column {key!r}, the input has: take it in or leave it out with "
                "--on-new-columns add or drop, alter the table"
            )
        if policy.new == "drop":
            fit.dropped.append(name)
        else:
            fit.added[name] = "VARCHAR" if kind == UNTYPED else kind
    common = [key for key in given if key in there]
    fit.reordered = common != [key for key in there if key in given]
    return fit


def spelled_as(schema: pa.Schema, there: Collection[str]) -> pa.Schema:
    """Return a night's schema with its names in the case in which the table has them.

    To SQL they are the same; readers of files and Delta tables take them for other columns.
    """
    fields = [field.with_name(own_name(there, field.name) or field.name) for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def _fit_type(fit: ColumnFit, policy: ColumnPolicy, name: str, kind: str, other: str) -> None:
    wider = _wider(kind, other)
    if policy.zone is not None and name.casefold() in policy.times and _moves(kind, other):
        raise UnfitColumnsError(
            f"holds {kind} in the column {name.casefold()!r}, the input {other}, and times without "
            f"a zone are read in {policy.zone}, which would move them: cast it in the input"
        )
    if policy.types == "fail" or (policy.types == "widen" and wider is None):
        option = "widen" if wider is not None else "cast"
        raise UnfitColumnsError(
            f"holds {kind} in the column {name.casefold()!r}, the input {other}: take it with "
            f"--on-changed-types {option}, alter the table"
        )
    if wider is None:
        fit.cast[name] = (other, kind)
    elif wider != kind:
        fit.widened[name] = (kind, wider)


def _moves(one: str, other: str) -> bool:
    """Return whether one of two types is a wall clock's, and the other a day's or a moment's."""
    clocks = [kind.startswith("TIMESTAMP") and kind not in ZONED for kind in (one, other)]
    return any(clocks) and {one, other} & {"DATE", *ZONED} != set()


def _wider(one: str, other: str) -> str | None:
    """Return the narrowest type that holds every value of both, None where there is none."""
    if {one, other} <= {"DOUBLE", *_EXACT_IN_DOUBLE} and "DOUBLE" in (one, other):
        return "DOUBLE"
    wider = (other, *_WIDER.get(other, ()))
    return next((kind for kind in (one, *_WIDER.get(one, ())) if kind in wider), None)


def _exactly(name: str, had: str, wanted: str) -> str:
    """Return a column cast to a type; a value that would not come back as it was is an error."""
    column = quote_identifier(name)
    if wanted == "VARCHAR":
        return f"CAST({column} AS VARCHAR)"
    there = f"TRY_CAST({column} AS {wanted})"
    said = f"{CANNOT_HOLD} a value of column {name!r} as {wanted}"
    return (
        f"CASE WHEN {column} IS NULL THEN NULL WHEN TRY_CAST({there} AS {had}) = {column} "
        f"THEN {there} ELSE CAST(error({quote_literal(said)}) AS {wanted}) END"
    )
