"""What the values of one column settle about its times: their order, and what cannot be read."""

from collections.abc import Sequence
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
    latest: int | None = None
    """The newest time, in microseconds since 1970; None where no time can be read."""
    days: dict[int, int] = field(default_factory=dict)
    """Rows of each day, counted from 1970-01-01."""

    def __add__(self, other: "TimeCounts") -> "TimeCounts":
        faults = dict(self.faults)
        for reason, rows in other.faults.items():
            faults[reason] = faults.get(reason, 0) + rows
        return TimeCounts(
            dated=self.dated + other.dated,
            undated=self.undated + other.undated,
            faults=faults,
            microseconds=self.microseconds + other.microseconds,
            latest=max((t for t in (self.latest, other.latest) if t is not None), default=None),
            days={
                day: self.days.get(day, 0) + other.days.get(day, 0)
                for day in (*self.days, *other.days)
            },
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
    counts = ", ".join(f"count(_t_{order})" for order in ORDERS)
    some = f"coalesce({', '.join(f'_t_{order}' for order in ORDERS)})"
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
    # Materialized: the optimizer would put the whole reading of a time into each use of it, and
    # take over a second for that.
    timed = with_time_sql(relation, column, kind, reading)
    rows = connection.execute(
        f"WITH timed AS MATERIALIZED (SELECT _t_time, _t_fault FROM ({timed})) "
        f"SELECT _t_fault, {day_counts_sql('_t_time')} FROM timed GROUP BY ALL ORDER BY 3 DESC"
    ).fetchall()
    faults: dict[str, int] = {}
    for reason, _, count, _, _ in rows:
        if reason is not None:
            faults[reason] = faults.get(reason, 0) + count
    dated = counts_of_days([row[1:] for row in rows if row[0] is None])
    return replace(dated, undated=sum(faults.values()), faults=faults)


def day_counts_sql(time: str) -> str:
    """Return the columns by which `counts_of_days` counts, grouped by the first."""
    return (
        f"CAST(floor(epoch_us({time}) / {_DAY}) AS BIGINT) AS day, count(*), "
        f"coalesce(sum(epoch_us({time})), 0), max(epoch_us({time}))"
    )


_DAY = 86_400_000_000


def counts_of_days(rows: Sequence[tuple[int | None, int, int, int | None]]) -> TimeCounts:
    """Return the counts of rows by day; those without a day are left out."""
    dated = [row for row in rows if row[0] is not None]
    return TimeCounts(
        dated=sum(count for _, count, _, _ in dated),
        microseconds=int(sum(total for _, _, total, _ in dated)),
        latest=max((latest for _, _, _, latest in dated if latest is not None), default=None),
        days={day: count for day, count, _, _ in dated if day is not None},
    )


def distinct_sql(relation: str, column: str) -> str:
    """Return the different values of a column as a relation."""
    return f"(SELECT DISTINCT {quote_identifier(column)} FROM {relation})"
