"""What the values of one column settle about its times: their order, and what cannot be read."""

from dataclasses import dataclass, field, replace

import duckdb

from ..sql import quote_identifier
from .parts import ORDERS
from .reading import TimeReading, is_text, with_time_sql


@dataclass(frozen=True, kw_only=True)
class TimeCounts:
    """How many rows of a column have a time, and why the others have none."""

    dated: int = 0
    undated: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    microseconds: int = 0
    """The sum of the times since 1970: equal for equal times in any order."""

    def __add__(self, other: "TimeCounts") -> "TimeCounts":
        faults = dict(self.faults)
        for reason, rows in other.faults.items():
            faults[reason] = faults.get(reason, 0) + rows
        return TimeCounts(
            dated=self.dated + other.dated,
            undated=self.undated + other.undated,
            faults=faults,
            microseconds=self.microseconds + other.microseconds,
        )


def settle_order(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    column: str,
    kind: str,
    reading: TimeReading,
) -> TimeReading:
    """Return the reading with the order of day, month and year that the values show.

    It is the one order in which all of them are dates; where there are several such, or none, it
    stays open.
    """
    if reading.date_format is not None or not is_text(kind):
        return reading
    counts = ", ".join(f"count(ft_{order})" for order in ORDERS)
    some = f"coalesce({', '.join(f'ft_{order}' for order in ORDERS)})"
    [(rows, *found)] = connection.execute(
        f"SELECT count({some}), {counts} "
        f"FROM ({with_time_sql(distinct_sql(relation, column), column, kind, reading)})"
    ).fetchall()
    fitting = [order for order, count in zip(ORDERS, found, strict=True) if count == rows]
    return replace(reading, date_format=fitting[0]) if rows and len(fitting) == 1 else reading


def count_times(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    column: str | None,
    kind: str,
    reading: TimeReading,
) -> TimeCounts:
    """Count a relation's rows by whether their time can be read, and why not."""
    rows = connection.execute(
        "SELECT ft_fault, count(*), coalesce(sum(epoch_us(ft_time)), 0) "
        f"FROM ({with_time_sql(relation, column, kind, reading)}) GROUP BY ft_fault ORDER BY 2 DESC"
    ).fetchall()
    faults = {reason: count for reason, count, _ in rows if reason is not None}
    return TimeCounts(
        dated=sum(count for reason, count, _ in rows if reason is None),
        undated=sum(faults.values()),
        faults=faults,
        microseconds=int(sum(total for _, _, total in rows)),
    )


def distinct_sql(relation: str, column: str) -> str:
    """Return the different values of a column as a relation."""
    return f"(SELECT DISTINCT {quote_identifier(column)} FROM {relation})"
