"""How text says a time: SQL that takes a value apart, and puts it together as a time in UTC.

Whoever wrote a feed's times did not have us in mind: zones stand in front of the year, months are
words, the day comes first or the month does. A value is read only if it can mean one time alone;
`docs/sql.md` lists the forms. Everything is one SQL expression, so that the command, a view kept in
the store and the shell give the same days.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from ..sql import quote_literal
from .parts import (
    CLOCK,
    EPOCH,
    HOUR,
    OFFSET,
    ORDERS,
    WORD,
    clock_sql,
    dated,
    days_by_order,
    extract,
    minutes_sql,
    offset_sql,
    replaced,
    spelled,
    sure_day,
    without_offset,
    without_zone,
    zone_sql,
)

BLANK: Final = "no time is given"
UNREADABLE: Final = "not a time in a known form"
FAR: Final = "a year before 1000 or after 9999"
NO_ORDER: Final = "day and month could be either way round"
NO_ZONE: Final = "the zone abbreviation {} is ambiguous"


class TextReading(Protocol):
    """What a text leaves open; see `reading.TimeReading`."""

    @property
    def order(self) -> str | None: ...
    @property
    def formats(self) -> tuple[str, ...]: ...
    @property
    def abbreviations(self) -> Mapping[str, int]: ...
    @property
    def local_names(self) -> Sequence[str]: ...
    @property
    def local(self) -> str: ...


# Blanks of every width, and the marks that have none: byte order, direction of writing.
_SPACE = r"[\s\x{00A0}\x{2000}-\x{200F}\x{2028}-\x{202F}\x{2060}-\x{2069}\x{FEFF}]+"
_EDGES = r"""^[ '"]+|[ '"]+$"""
_ISO = (
    r"\d{4}-\d{2}-\d{2}"
    rf"(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d{{1,9}})?)?(?:Z| UTC|{OFFSET}(?::[0-5]\d)?)?)?"
)


# As RSS has it (RFC 822), before the zone.
_RSS = (
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?\d{1,2} "
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} "
    r"(?:[01]\d|2[0-3]):\d{2}:\d{2} "
)


def is_plain_sql(text: str, reading: TextReading) -> str:
    """Return whether a text is of one of the two usual forms, ISO 8601 and RSS's.

    Such a text is read without being taken apart, in a tenth of the time.
    """
    if reading.formats:
        return "false"
    names = "|".join(sorted(name for name in reading.abbreviations if name.isalpha()))
    plain = rf"{_ISO}|{_RSS}(?:{names}|{OFFSET}[0-5]\d)"
    return f"coalesce(regexp_full_match({text}, {quote_literal(plain)}), false)"


def plain_time_sql(text: str, reading: TextReading) -> str:
    """Return the time in UTC of such a text."""
    known = ", ".join(f"{quote_literal(k)}: {v}" for k, v in reading.abbreviations.items())
    named = f"MAP {{{known}}}[regexp_extract({text}, '[A-Z]+$')]"
    said = f"regexp_extract({text}, '\\d.*:\\d\\d:\\d\\d')"
    digits = f"TRY_CAST({text}[-4:-3] AS INTEGER) * 60 + TRY_CAST({text}[-2:] AS INTEGER)"
    minutes = (
        f"CASE {text}[-5:-5] WHEN '+' THEN {digits} WHEN '-' THEN -({digits}) ELSE {named} END"
    )
    behind = f"{text}[17:]"  # what may name a zone in ISO 8601, and has no other sign
    zoned = f"right({text}, 1) IN ('Z', 'C') OR contains({behind}, '+') OR contains({behind}, '-')"
    return (
        f"CASE WHEN length({text}) = 10 THEN TRY_CAST({text} AS TIMESTAMP) "
        f"WHEN {text}[5:5] <> '-' "
        f"THEN try_strptime({said}, '%d %b %Y %H:%M:%S') - to_minutes({minutes}) "
        f"WHEN {zoned} "
        f"THEN timezone('UTC', TRY_CAST({text} AS TIMESTAMPTZ)) "
        f"ELSE {reading.local.format(f'TRY_CAST({text} AS TIMESTAMP)')} END"
    )


def _clean(text: str) -> str:
    """Return a text in small letters, its blanks single, without marks and quotes around it."""
    said = replaced(replaced(text, _SPACE), _EDGES, "")
    return f"lower({said})"


def _written_out(text: str) -> str:
    """Return a text, nanoseconds with an exponent as the whole number that they are.

    Python writes them so where values are missing, with all digits they have. A spreadsheet leaves
    six, which may be another day: fewer than eight are no time.
    """
    return (
        f"CASE WHEN ends_with({text}, 'e+18') AND regexp_full_match({text}, '1\\.\\d{{7,}}e\\+18') "
        f"THEN CAST(CAST({text} AS HUGEINT) AS VARCHAR) ELSE {text} END"
    )


def text_layers(text: str, reading: TextReading) -> Iterator[dict[str, str]]:
    """Yield the columns that lead from a text to its time, layer by layer: name to SQL.

    A layer's SQL may use the columns of those before. The last one gives `_t_time` (TIMESTAMP in
    UTC, NULL where it is not sure); `_t_dmy`, `_t_mdy`, `_t_ymd` are the days that the orders give.
    """
    yield {"_t_read": text}
    yield {"_t_text": _written_out("_t_read")}
    plain = is_plain_sql("_t_text", reading)
    yield {
        "_t_plain": plain,
        "_t_clean": f"CASE WHEN NOT {plain} THEN {_clean('_t_text')} END",
    }
    yield {"_t_said": spelled("_t_clean")}
    yield {"_t_sign": offset_sql("_t_said")}
    yield {"_t_opened": without_offset("_t_said", "_t_sign")}
    yield {
        "_t_zone": zone_sql("_t_opened"),
        "_t_minutes": minutes_sql("_t_sign"),
    }
    yield {"_t_bare": without_zone("_t_opened", "_t_zone")}
    yield {"_t_words": replaced("_t_bare", rf"\b(?:{WORD})\b")}
    yield {
        "_t_c": extract("_t_words", CLOCK, "hmsfp"),
        "_t_d": dated("_t_words"),
    }
    yield {"_t_g": extract("CASE _t_c.h WHEN '' THEN _t_words END", HOUR, "hp")}
    stripped = tuple(_ZONE_PARTS.sub("", form).strip() for form in reading.formats)
    exact = tuple(form for form in reading.formats if not _ZONE_PARTS.search(form))
    yield {
        "_t_clock": clock_sql(),
        "_t_own": _by_format("_t_clean", exact),
        "_t_given": _by_format("_t_bare", stripped),
        "_t_e": extract("_t_clean", f"^(?:{EPOCH})$", ("s", "ms", "us", "ns")),
        "_t_day": sure_day(),
        **{f"_t_{order}": sql for order, sql in days_by_order().items()},
    }
    yield from _times(reading)


_ZONE_PARTS = re.compile(r"\s*%[zZ]")
_HOURS = re.compile(r"%-?[HIcX]")
_LITERALS = re.compile(r"(%-?.)|[^%]")
_BEFORE = "TIMESTAMP '1000-01-01'"


def _by_format(text: str, formats: tuple[str, ...]) -> str:
    """Return the time by the first format that fits a text in small letters."""
    if not formats:
        return "CAST(NULL AS TIMESTAMP)"
    small = [_LITERALS.sub(lambda m: m[1] or m[0].lower(), form) for form in formats]
    tries = ", ".join(f"try_strptime({text}, {quote_literal(form)})" for form in small)
    # %Y takes 14 for the year 14.
    return f"nullif(greatest(coalesce({tries}), {_BEFORE}), {_BEFORE})"


def _times(reading: TextReading) -> Iterator[dict[str, str]]:
    """Put together what `text_layers` took apart."""
    known = ", ".join(f"{quote_literal(k.lower())}: {v}" for k, v in reading.abbreviations.items())
    days = ", ".join(f"_t_{order}" for order in ORDERS)
    # Without an order, a value that can be read in one way alone.
    one = f"CASE WHEN len(list_distinct([{days}])) = 1 THEN coalesce({days}) END"
    ordered = f"_t_{reading.order}" if reading.order else one
    # What a format without a time of day reads is a whole day, whatever the zone.
    timed = any(_HOURS.search(form) for form in reading.formats)
    own = reading.local.format("_t_own") if timed else "_t_own"
    yield {
        "_t_at": f"coalesce(CAST(_t_given AS DATE), _t_day, {ordered})",
        "_t_offset": f"coalesce(_t_minutes, MAP {{{known}}}[_t_zone])",
        "_t_hour": f"CASE WHEN {'_t_given IS NULL' if timed else 'true'} THEN _t_clock "
        "ELSE strftime(_t_given, '%H:%M:%S.%f') END",
    }
    yield {"_t_local": "TRY_CAST(CAST(_t_at AS VARCHAR) || ' ' || _t_hour AS TIMESTAMP)"}
    names = ", ".join(quote_literal(name.lower()) for name in reading.local_names)
    is_local = "_t_zone IS NULL" + (f" OR _t_zone IN ({names})" if names else "")
    place = "TRY_CAST(CAST(_t_local AS VARCHAR) || ' ' || _t_zone AS TIMESTAMPTZ)"
    time = (
        f"CASE WHEN _t_plain THEN {plain_time_sql('_t_text', reading)} "
        f"WHEN _t_own IS NOT NULL THEN {own} "
        f"WHEN _t_e.s <> '' THEN make_timestamp(TRY_CAST(_t_e.s AS BIGINT) * 1000000) "
        f"WHEN _t_e.ms <> '' THEN make_timestamp(TRY_CAST(_t_e.ms AS BIGINT) * 1000) "
        f"WHEN _t_e.us <> '' THEN make_timestamp(TRY_CAST(_t_e.us AS BIGINT)) "
        f"WHEN _t_e.ns <> '' THEN make_timestamp(TRY_CAST(_t_e.ns AS BIGINT) // 1000) "
        f"WHEN _t_hour IS NULL AND ({is_local} OR _t_offset IS NOT NULL) "
        "THEN CAST(_t_at AS TIMESTAMP) "
        "WHEN _t_offset IS NOT NULL THEN _t_local - to_minutes(_t_offset) "
        f"WHEN contains(_t_zone, '/') THEN timezone('UTC', {place}) "
        f"WHEN {is_local} THEN {reading.local.format('_t_local')} END"
    )
    yield {"_t_time": within_years_sql(time)}


def within_years_sql(time: str) -> str:
    """Return a time, NULL if its year is none of 1000 to 9999: programs put such for no time."""
    low, high = "TIMESTAMP '0999-12-31 23:59:59.999999'", "TIMESTAMP '10000-01-01'"
    return f"nullif(nullif(least(greatest({time}, {low}), {high}), {low}), {high})"


def text_fault_sql(reading: TextReading) -> str:
    """Return why the columns of `text_layers` give no time."""
    before, after = map(quote_literal, NO_ZONE.split("{}"))
    far = r"^\W*(0\d{3}-|\d{5,}-\d)"
    some = " OR ".join(f"_t_{order} IS NOT NULL" for order in ORDERS)
    open_order = f"_t_at IS NULL AND ({some})" if reading.order is None else "false"
    return (
        f"CASE WHEN _t_at IS NOT NULL AND _t_offset IS NULL AND length(_t_zone) <= 5 "
        f"THEN {before} || upper(_t_zone) || {after} "
        f"WHEN regexp_matches(_t_text, '{far}') THEN {quote_literal(FAR)} "
        f"WHEN {open_order} THEN {quote_literal(NO_ORDER)} ELSE {quote_literal(UNREADABLE)} END"
    )
