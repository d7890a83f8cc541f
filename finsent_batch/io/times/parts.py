"""The parts of a text that says a time, as SQL: clock, date, offset and zone."""

from collections.abc import Sequence
from typing import Final

from ..sql import quote_literal

ORDERS: Final = ("dmy", "mdy", "ymd")
"""The orders in which day, month and year stand where all three are numbers."""
ABBREVIATIONS: Final = {
    "UTC": 0,
    "GMT": 0,
    "Z": 0,
    "EST": -300,
    "EDT": -240,
    "CST": -360,
    "CDT": -300,
    "MST": -420,
    "MDT": -360,
    "PST": -480,
    "PDT": -420,
    "CET": 60,
    "CEST": 120,
}
"""Minutes east of Greenwich of the abbreviations that mean one zone in the news."""

LOCAL_NAMES: Final = {
    "ET": ("America/New_York", "US/Eastern", "America/Toronto", "America/Detroit"),
    "CT": ("America/Chicago", "US/Central"),
    "MT": ("America/Denver", "US/Mountain"),
    "PT": ("America/Los_Angeles", "US/Pacific"),
    "SGT": ("Asia/Singapore",),
    "GST": ("Asia/Dubai",),
    "ICT": ("Asia/Bangkok",),
    "TRT": ("Europe/Istanbul",),
    "BRT": ("America/Sao_Paulo",),
    "ART": ("America/Argentina/Buenos_Aires",),
    "CLT": ("America/Santiago",),
}
"""What the news of a zone call its local time, where the IANA rules have no such name."""

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    "sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
WORD = "(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?|at|on|of"
EPOCH = r"(?:(1\d{9})|(1\d{12})|(1\d{15})|(1\d{18}))(?:\.\d*)?"
CLOCK = r"\b(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,:](\d{1,9}))?)?(?: ?([ap])m\b)?"
HOUR = r"\b(\d{1,2}) ?([ap])m\b"
_HOURS = r"(?:0\d|1[0-4])"
OFFSET = f"[+-]{_HOURS}"
"""The hours of an offset: no place is further from Greenwich."""
# An offset, between what stands before and behind it: after a time of day; by itself; after a day.
_OFFSETS = (
    r"()\b(?:utc|gmt) ?([+-](?:0?\d|1[0-4])(?::?[0-5]\d)?)(\b)",
    rf"(:\d{{2}}(?:[.,]\d+)?(?: ?[ap]m)?) ?({OFFSET}(?::?[0-5]\d)?)($|[^\d:-])",
    rf"(^| )({OFFSET}:?[0-5]\d)($| )",
    rf"(^\d{{4}}-\d{{2}}-\d{{2}}) ?(\+{_HOURS}:[0-5]\d)($)",
)
_DATE = (
    r"(\d{4})[-/. ](\d{1,2})[-/. ](\d{1,2})",
    r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4}|\d{2})",
    rf"({_MONTH})[-/. ]*(\d{{1,2}})[-/. ]+(\d{{4}}|\d{{2}})",
    rf"(\d{{1,2}})[-/. ]*({_MONTH})[-/. ]*(\d{{4}}|\d{{2}})",
    rf"(\d{{4}})[-/. ]*({_MONTH})[-/. ]*(\d{{1,2}})",
    r"((?:19|20)\d{2})(\d{2})(\d{2})(?:\.0*)?",
)
_PIECES = tuple(f"{part}{form}" for form in range(1, 7) for part in "abc")


def found(text: str, pattern: str, group: int = 0) -> str:
    return f"nullif(regexp_extract({text}, {quote_literal(pattern)}, {group}), '')"


def replaced(text: str, pattern: str, by: str = " ") -> str:
    return f"regexp_replace({text}, {quote_literal(pattern)}, {quote_literal(by)}, 'g')"


def extract(text: str, pattern: str, names: Sequence[str]) -> str:
    listed = ", ".join(map(quote_literal, names))
    return f"regexp_extract({text}, {quote_literal(pattern)}, [{listed}])"


def spelled(clean: str) -> str:
    """Separate what is written together: `t` and `z` of ISO 8601, a.m., 1st, 20140106093000."""
    text = replaced(clean, r"^((?:19|20)\d{6})t?(\d{2})(\d{2})(\d{2})(z|$| )", r"\1 \2:\3:\4\5")
    text = replaced(text, r"^((?:19|20)\d{6})t(\d{2})(\d{2})(z|$|[ +-])", r"\1 \2:\3\4")
    text = replaced(text, r"(\d)t(\d)", r"\1 \2")
    text = replaced(text, r"(\d)z\b", r"\1 z")
    text = replaced(text, r"\b([ap])\.m\b\.?", r"\1m")
    return replaced(text, r"(\d)(?:st|nd|rd|th)\b", r"\1")


def offset_sql(text: str) -> str:
    return f"coalesce({', '.join(found(text, pattern, 2) for pattern in _OFFSETS)})"


def without_offset(text: str, sign: str) -> str:
    """Take the offset out; what stands in brackets beside one only repeats it."""
    cases = " ".join(
        f"WHEN regexp_matches({text}, {quote_literal(pattern)}) "
        f"THEN regexp_replace({text}, {quote_literal(pattern)}, '\\1 \\3')"
        for pattern in _OFFSETS
    )
    alone = replaced(f"(CASE {cases} END)", r"\(.*\)|\[.*\]|\b(?:utc|gmt)\b")
    bare = replaced(text, r"[()\[\]]")
    return f"CASE WHEN {sign} IS NULL THEN {bare} ELSE {alone} END"


_NO_ZONE_WORD = f"{_MONTH}|{WORD}|[ap]m"
_PLACE = r"\b[a-z_]+/[a-z][a-z0-9_+/-]*"


def zone_sql(text: str) -> str:
    words = (
        f"list_filter(regexp_extract_all({text}, '[a-z]+'), "
        f"lambda w: NOT regexp_full_match(w, {quote_literal(_NO_ZONE_WORD)}))[1]"
    )
    return f"coalesce({found(text, _PLACE)}, {words})"


def without_zone(text: str, zone: str) -> str:
    """Take the zone out."""
    names = [name.lower() for name in ABBREVIATIONS]
    listed, common = ", ".join(map(quote_literal, names)), rf"\b(?:{'|'.join(names)})\b"
    return (
        f"trim(CASE WHEN {zone} IS NULL THEN {text} "
        f"WHEN contains({zone}, '/') THEN {replaced(text, _PLACE)} "
        # A pattern that differs from row to row is slow: only for zones that are not known.
        f"WHEN {zone} IN ({listed}) THEN {replaced(text, common)} "
        f"ELSE regexp_replace({text}, '\\b' || {zone} || '\\b', ' ') END)"
    )


def clock_sql() -> str:
    def hour(clock: str) -> str:
        number = f"TRY_CAST({clock}.h AS INTEGER)"
        return (
            f"CASE WHEN {clock}.p = '' THEN {clock}.h WHEN {number} NOT BETWEEN 1 AND 12 THEN '99' "
            f"ELSE CAST({number} % 12 + CASE {clock}.p WHEN 'p' THEN 12 ELSE 0 END AS VARCHAR) END"
        )

    return (
        f"CASE WHEN _t_c.h <> '' THEN ({hour('_t_c')}) || ':' || _t_c.m || ':' "
        "|| coalesce(nullif(_t_c.s, ''), '00') || CASE _t_c.f WHEN '' THEN '' "
        "ELSE '.' || _t_c.f END "
        f"WHEN _t_g.h <> '' THEN ({hour('_t_g')}) || ':00' END"
    )


def dated(text: str) -> str:
    """Take apart what is left for the date: a second time of day is left too, and is no date."""
    clock = quote_literal(f"{CLOCK}|{HOUR}")
    rest = replaced(f"regexp_replace({text}, {clock}, ' ')", "[, ]+")
    rest = replaced(rest, r"^[ ;:|@.-]+|[ ;:|@.-]+$", "")
    return extract(rest, "^(?:" + "|".join(_DATE) + ")$", _PIECES)


def _day(year: str, month: str, day: str) -> str:
    full = (
        f"CASE WHEN length({year}) = 4 THEN {year} "
        f"ELSE CASE WHEN {year} <= '68' THEN '20' ELSE '19' END || {year} END"
    )
    return f"TRY_CAST(({full}) || '-' || ({month}) || '-' || {day} AS DATE)"


def _month(name: str) -> str:
    months = ", ".join(map(quote_literal, _MONTHS))
    return f"CAST(list_position([{months}], left({name}, 3)) AS VARCHAR)"


def sure_day() -> str:
    return (
        f"CASE WHEN _t_d.a1 <> '' THEN {_day('_t_d.a1', '_t_d.b1', '_t_d.c1')} "
        f"WHEN _t_d.a3 <> '' THEN {_day('_t_d.c3', _month('_t_d.a3'), '_t_d.b3')} "
        f"WHEN _t_d.a4 <> '' THEN {_day('_t_d.c4', _month('_t_d.b4'), '_t_d.a4')} "
        f"WHEN _t_d.a5 <> '' THEN {_day('_t_d.a5', _month('_t_d.b5'), '_t_d.c5')} "
        f"WHEN _t_d.a6 <> '' THEN {_day('_t_d.a6', '_t_d.b6', '_t_d.c6')} END"
    )


def days_by_order() -> dict[str, str]:
    years_first = _day("_t_d.a2", "_t_d.b2", "_t_d.c2")
    days = {
        "dmy": _day("_t_d.c2", "_t_d.b2", "_t_d.a2"),
        "mdy": _day("_t_d.c2", "_t_d.a2", "_t_d.b2"),
        "ymd": f"CASE WHEN length(_t_d.a2) = 2 AND length(_t_d.c2) = 2 THEN {years_first} END",
    }
    return {order: f"CASE WHEN _t_d.a2 <> '' THEN {sql} END" for order, sql in days.items()}


def minutes_sql(sign: str) -> str:
    digits = f"regexp_replace({sign}[2:], ':', '')"
    hours = f"CAST(CASE WHEN length({digits}) > 2 THEN {digits}[:-3] ELSE {digits} END AS INTEGER)"
    rest = f"CASE WHEN length({digits}) > 2 THEN CAST({digits}[-2:] AS INTEGER) ELSE 0 END"
    return f"CASE left({sign}, 1) WHEN '-' THEN -1 ELSE 1 END * ({hours} * 60 + {rest})"
