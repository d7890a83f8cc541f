"""The time of a headline: which moment in UTC a value of any type means, as SQL.

The rule for each type stands in docs/sql.md. What cannot be read surely is no time: NULL, with a
reason.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb

from ...errors import UsageError
from ..sql import quote_identifier, quote_literal
from .parts import ABBREVIATIONS, LOCAL_NAMES, ORDERS
from .text import (
    BLANK,
    FAR,
    UNREADABLE,
    text_fault_sql,
    text_layers,
    within_years_sql,
)

UTC: Final = "UTC"
ADDED: Final = "_t_"
"""How the names of all columns begin that reading a time adds."""
ZONED: Final = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
"""DuckDB's types of moments; the other TIMESTAMP types are wall clocks."""
_NEVER = ("TIME", "TIME_NS", "TIME WITH TIME ZONE", "BOOLEAN", "INTERVAL", "UUID", "BIT")


@dataclass(frozen=True, kw_only=True)
class TimeReading:
    """How the values of one column are read where they leave it open."""

    date_format: str | None = None
    """A strptime format, or `dmy`, `mdy`, `ymd`: the order of day, month and year in numbers."""
    timezone: str = UTC
    """Of times that name no zone: an IANA name, or an offset such as `+05:30`."""

    @property
    def order(self) -> str | None:
        """The order of day, month and year, where it is settled."""
        if self.date_format is None or self.date_format in ORDERS:
            return self.date_format
        parts = re.findall("%-?([dmyY])", self.date_format)
        order = "".join(part.lower() for part in parts)
        return order if order in ORDERS else None

    @property
    def formats(self) -> tuple[str, ...]:
        """The strptime formats to try first."""
        own = self.date_format
        return () if own is None or own in ORDERS else (own,)

    @property
    def abbreviations(self) -> dict[str, int]:
        """Minutes east of Greenwich by abbreviation: the usual ones, and those of the zone."""
        return {**ABBREVIATIONS, **_abbreviations_of(self.timezone)}

    @property
    def local_names(self) -> tuple[str, ...]:
        """What else the news of the zone call its local time."""
        return tuple(name for name, zones in LOCAL_NAMES.items() if self.timezone in zones)

    @property
    def local(self) -> str:
        """Return SQL with `{}` for a TIMESTAMP without zone, which becomes one in UTC."""
        if self.timezone == UTC:
            return "{}"
        minutes = _offset(self.timezone)
        if minutes is not None:
            return f"({{}} - to_minutes({minutes}))"
        return f"timezone('UTC', timezone({quote_literal(self.timezone)}, {{}}))"


def check_time_reading(date_format: str | None, timezone: str | None) -> None:
    """Refuse settings under which nothing could be read.

    Raises:
        UsageError: no such zone, or no such format.
    """
    if timezone is not None and _offset(timezone) is None:
        named = timezone == UTC or "/" in timezone
        known = "SELECT name FROM pg_timezone_names() WHERE name = ?"
        with duckdb.connect(":memory:") as connection:
            if not named or not connection.execute(known, [timezone]).fetchall():
                raise UsageError(
                    f"--timezone {timezone}: name a zone such as Europe/London or America/New_York,"
                    " or an offset such as +05:30"
                )
    if date_format is None or date_format in ORDERS:
        return
    with duckdb.connect(":memory:") as connection:
        try:
            connection.execute("SELECT try_strptime('', ?)", [date_format]).fetchall()
        except duckdb.Error:
            date_format = ""
    if not _names_a_day(date_format):
        raise UsageError(
            "--date-format takes dmy, mdy or ymd, or a format such as '%d/%m/%Y %H:%M'"
        )


def _names_a_day(date_format: str) -> bool:
    """Return whether a strptime format reads day and year: without, they would be those of 1900."""
    parts = set(re.findall("%-?([A-Za-z])", date_format))
    return bool({"c", "x"} & parts or ({"y", "Y", "g", "G"} & parts and set("djUVW") & parts))


def with_time_sql(relation: str, column: str | None, kind: str, reading: TimeReading) -> str:
    """Return a SELECT of the relation with `_t_time` after its own columns, and what led there.

    `_t_time` is the time in UTC (TIMESTAMP) of the column of this DuckDB type, NULL where it is
    not sure; `_t_fault` (VARCHAR) says why, NULL where there is one. All added names begin
    with `ADDED`.
    """
    if column is None or kind in _NEVER:
        fault = f"{quote_literal(UNREADABLE)}" if column else quote_literal(BLANK)
        return f"SELECT *, CAST(NULL AS TIMESTAMP) AS _t_time, {fault} AS _t_fault FROM {relation}"
    named = quote_identifier(column)
    if not is_text(kind):
        time = within_years_sql(_typed_time(named, kind, reading))
        relation = f"(SELECT *, {time} AS _t_time FROM {relation})"
        fault, blank = quote_literal(FAR), f"{named} IS NULL"
    else:
        text = f"TRY(decode({named}))" if kind == "BLOB" else f"CAST({named} AS VARCHAR)"
        if kind == "DOUBLE":  # nanoseconds with values missing, which would get an exponent
            whole = f"CAST(CAST({named} AS HUGEINT) AS VARCHAR)"
            text = f"CASE WHEN {named} BETWEEN 1e15 AND 9e18 THEN {whole} ELSE {text} END"
        for layer in text_layers(text, reading):
            added = ", ".join(f"{sql} AS {name}" for name, sql in layer.items())
            relation = f"(SELECT *, {added} FROM {relation})"
        fault, blank = text_fault_sql(reading), f"{named} IS NULL OR _t_clean = ''"
    return (
        f"SELECT *, CASE WHEN _t_time IS NOT NULL THEN NULL WHEN {blank} "
        f"THEN {quote_literal(BLANK)} ELSE {fault} END AS _t_fault FROM {relation}"
    )


def _typed_time(column: str, kind: str, reading: TimeReading) -> str:
    held = f"TRY_CAST({column} AS {'TIMESTAMPTZ' if kind in ZONED else 'TIMESTAMP'})"
    whole = held
    if kind.endswith("_NS"):  # a cast would round, up to the next day
        whole = f"make_timestamp(epoch_ns({column}) // 1000)"
    elif kind in ZONED:
        whole = f"timezone('UTC', {held})"
    # A day has no zone, and a moment needs none.
    moment = whole if kind in ("DATE", *ZONED) else reading.local.format(whole)
    return f"CASE WHEN isfinite({held}) THEN {moment} END"


def is_text(kind: str) -> bool:
    """Whether values of this type are read as text."""
    return not kind.startswith(("TIMESTAMP", "DATE")) and kind not in _NEVER


def _offset(timezone: str) -> int | None:
    match = re.fullmatch(r"([+-])(0\d|1[0-4]):?([0-5]\d)", timezone)
    if not match:
        return None
    return (-1 if match[1] == "-" else 1) * (int(match[2]) * 60 + int(match[3]))


@cache
def _abbreviations_of(timezone: str) -> dict[str, int]:
    """Return the abbreviations that the people of a zone use, where each means one offset."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        return {}
    found: dict[str, set[int]] = {}
    for year in range(1990, 2040):
        for month in (1, 7):
            moment = datetime(year, month, 1, tzinfo=zone)
            offset, name = moment.utcoffset(), moment.tzname()
            if offset is not None and name is not None and name.isalpha():
                found.setdefault(name, set()).add(int(offset.total_seconds() // 60))
    return {name: offsets.pop() for name, offsets in found.items() if len(offsets) == 1}
