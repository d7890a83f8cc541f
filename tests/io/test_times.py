"""Times as feeds write them: each form of text, each type, and what is left open."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finsent_batch.errors import UsageError
from finsent_batch.io.times.parts import ORDERS
from finsent_batch.io.times.reading import TimeReading, check_time_reading, with_time_sql
from finsent_batch.io.times.settle import count_times, settle_order
from finsent_batch.io.times.text import FAR

from ..helpers.fuzzing import examples


def read_all(values, kind="VARCHAR", **how):
    """Return (time, fault) of each value."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")  # which must not matter
        connection.execute(f"CREATE TABLE v (i INTEGER, v {kind})")
        connection.executemany("INSERT INTO v VALUES (?, ?)", [list(p) for p in enumerate(values)])
        timed = with_time_sql("v", "v", kind, TimeReading(**how))
        return connection.execute(
            f"SELECT CAST(_t_time AS VARCHAR), _t_fault FROM ({timed}) ORDER BY i"
        ).fetchall()


FORMS = {
    "2014-01-06 09:30:00": "2014-01-06 09:30:00",
    "2014-01-06": "2014-01-06 00:00:00",
    "2014-01-06 21:30:00 EST": "2014-01-07 02:30:00",
    "2014-07-01 09:00:00 EDT": "2014-07-01 13:00:00",
    "January 8, 2014": "2014-01-08 00:00:00",
    "Jan. 8, 2014 9:30 a.m. EST": "2014-01-08 14:30:00",
    "2014-01-09T10:00:00Z": "2014-01-09 10:00:00",
    "2014-01-09t10:00:00.123z": "2014-01-09 10:00:00.123",
    "2014-01-09 09:30:00 +0530": "2014-01-09 04:00:00",
    "+0530 2014-01-09 09:30:00": "2014-01-09 04:00:00",
    "Thu Jan 09 09:30:00 +0000 2014": "2014-01-09 09:30:00",
    "Thu Jan  9 09:30:00 EST 2014": "2014-01-09 14:30:00",
    "Thu, 09 Jan 2014 09:30:00 GMT": "2014-01-09 09:30:00",
    "Thu, 09 Jan 2014 09:30:00 -0500 (EST)": "2014-01-09 14:30:00",
    "09/Jan/2014:09:30:00 +0100": "2014-01-09 08:30:00",
    "Mon Jan 06 2014 09:30:00 GMT+0100 (Central European Standard Time)": "2014-01-06 08:30:00",
    "2014-01-06T09:30:00+01:00[Europe/Paris]": "2014-01-06 08:30:00",
    "2014-07-06 09:30 Europe/Paris": "2014-07-06 07:30:00",
    "2014-07-06 09:30 America/New_York": "2014-07-06 13:30:00",
    "2014-07-06 09:30 Nowhere/There": None,
    "2014-07-01 03:30:00 BST": None,
    "2014-07-01 03:30:00 IST": None,
    "13/01/2014 10:00": "2014-01-13 10:00:00",
    "01/13/2014 10:00 PM": "2014-01-13 22:00:00",
    "01/07/2014": None,
    "01/01/2014": "2014-01-01 00:00:00",
    "1/13/14 9:30": "2014-01-13 09:30:00",
    "1/6/14 9:30": None,
    "06-Jan-14 12:00 AM": "2014-01-06 00:00:00",
    "6 January 2014 at 9pm ET": None,
    "6th January 2014 at 9pm": "2014-01-06 21:00:00",
    "20140106": "2014-01-06 00:00:00",
    "20140106093000": "2014-01-06 09:30:00",
    "20140106T093000Z": "2014-01-06 09:30:00",
    "20140106T0930": "2014-01-06 09:30:00",
    "20140106T0930+0100": "2014-01-06 08:30:00",
    "1388999999": "2014-01-06 09:19:59",
    "1388999999000": "2014-01-06 09:19:59",
    "1388999999.0": "2014-01-06 09:19:59",
    "2014-02-30": None,
    "2014-02-30 10:00": None,
    "hello": None,
    "41645.39": None,
    "": None,
    "'2014-01-06 09:30": "2014-01-06 09:30:00",
    "\ufeff2014-01-06 09:30": "2014-01-06 09:30:00",
    "2014\xa001 06": "2014-01-06 00:00:00",
    "09:30": None,
    "January 2014": None,
    "2014/1/6 9:30": "2014-01-06 09:30:00",
    "2014-01-09+05:30": "2014-01-09 00:00:00",
    "2014-01-06 09:30:00.123456789+00": "2014-01-06 09:30:00.123456",
    "2014-01-06 09:30 UTC+2": "2014-01-06 07:30:00",
    "9:30 AM, Jan 6, 2014": "2014-01-06 09:30:00",
    "2014-01-06 09:30:00,123": "2014-01-06 09:30:00.123",
    "2014-01-06 13:30 PM": None,
    "2014-01-06 25:30": None,
    "Monday, January 6, 2014": "2014-01-06 00:00:00",
    "2014-01-06 09:30:00-05": "2014-01-06 14:30:00",
    "2014-01-06 09:30-0500": "2014-01-06 14:30:00",
    "2014-06-30T23:59:60Z": None,
    "06 Jan 2014 | 09:30": "2014-01-06 09:30:00",
    # An offset that no place has, and two times of day, say no time.
    "2014-01-06T09:30:00+25:00": None,
    "2014-01-06T09:30:00+0560": None,
    "2014-01-06 09:30 +2500": None,
    "2014-01-06+25:00": None,
    "2014-01-06 09:30-17:30": None,
    "2014-01-06-09:30": "2014-01-06 09:30:00",
    "2014-01-06 09:30 - 17:30": None,
    "6 Jan 2014 9:30 AM EST, 14:30 GMT": None,
    "2014-01-06 9am 17:30": None,
    # What programs put for no time.
    "0001-01-01T00:00:00Z": None,
    "0001-01-01 00:00": None,
    "10000-01-01": None,
    "9999-12-31": "9999-12-31 00:00:00",
    # Whole numbers that came through floats and decimals.
    "20140106.0": "2014-01-06 00:00:00",
    "1388999999000.125": "2014-01-06 09:19:59",
    "1388999999000000000.00": "2014-01-06 09:19:59",
    "1.388999999e+18": "2014-01-06 09:19:59",
    "1.3889664e+18": "2014-01-06 00:00:00",
    "1.38897e+18": None,  # what a spreadsheet leaves of it
    "1.388999999e+99": None,
}


def test_each_form_of_text_is_read_or_is_no_time():
    found = read_all(FORMS)
    assert dict(zip(FORMS, [time for time, _ in found], strict=True)) == FORMS
    assert all((time is None) == (fault is not None) for time, fault in found)


def test_what_scoring_counts_is_what_queries_read(score, run, tmp_path):
    rows = [{"headline": f"news {i}", "date": text} for i, text in enumerate(FORMS)]
    pl.DataFrame(rows).write_parquet(tmp_path / "n.parquet")
    dated = sum(time is not None for time in FORMS.values())
    assert score("n.parquet")["times"]["dated"] == dated
    done = run("query", "--sql", "SELECT count(news_time) FROM scored_headlines")
    assert done.out.split()[-1] == str(dated)


def test_times_of_rss_are_the_same_read_at_once_or_taken_apart():
    rest = ("09:30:00", "00:00:00", "23:59:59", "23:59:60", "24:00:00", "9:30:00", "09:30")
    zones = ("GMT", "UTC", "+0000", "-0500", "+0530", "-0930", "+1400", "+9999", "EST", "Z", "")
    days = ("Thu, 09 Jan 2014", "9 Jan 2014", "Wed, 31 Dec 2014", "31 Feb 2014", "Sat, 1 Mar 0014")
    texts = [f"{d} {t} {z}".strip() for d in days for t in rest for z in zones]
    # Small letters are none of the usual form, and mean the same.
    assert read_all(texts) == read_all([text.lower() for text in texts])
    moment = datetime(2014, 1, 9, 9, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert read_all([format_datetime(moment)]) == [("2014-01-09 14:30:00", None)]


def test_faults_name_what_is_open():
    faults = dict(zip(FORMS, [fault for _, fault in read_all(FORMS)], strict=True))
    assert "BST is ambiguous" in faults["2014-07-01 03:30:00 BST"]
    assert "day and month" in faults["01/07/2014"]
    assert faults[""] == "no time is given"
    assert faults["0001-01-01T00:00:00Z"] == faults["10000-01-01"] == FAR
    assert read_all([None]) == [(None, "no time is given")]


@pytest.mark.parametrize(
    ("text", "how", "time"),
    [
        ("2014-07-01 03:30:00 BST", {"timezone": "Europe/London"}, "2014-07-01 02:30:00"),
        ("2014-07-01 03:30:00", {"timezone": "Europe/London"}, "2014-07-01 02:30:00"),
        ("2014-07-01", {"timezone": "Asia/Tokyo"}, "2014-07-01 00:00:00"),
        ("2014-07-01 03:30:00 IST", {"timezone": "Europe/London"}, None),
        ("2014-07-01 03:30:00 IST", {"timezone": "Asia/Kolkata"}, "2014-06-30 22:00:00"),
        ("6 January 2014 at 9pm ET", {"timezone": "America/New_York"}, "2014-01-07 02:00:00"),
        ("6 July 2014 at 9pm ET", {"timezone": "America/New_York"}, "2014-07-07 01:00:00"),
        ("6 July 2014 ET", {"timezone": "America/New_York"}, "2014-07-06 00:00:00"),
        ("6 July 2014 at 9pm ET", {"timezone": "Europe/London"}, None),
        ("2014-01-06 03:30 SGT", {"timezone": "Asia/Singapore"}, "2014-01-05 19:30:00"),
        ("2014-07-01 03:30:00", {"timezone": "+05:30"}, "2014-06-30 22:00:00"),
        ("2014-07-01 03:30:00Z", {"timezone": "+05:30"}, "2014-07-01 03:30:00"),
        ("01/07/2014 03:30", {"date_format": "dmy"}, "2014-07-01 03:30:00"),
        ("01/07/2014 03:30 EST", {"date_format": "%d/%m/%Y %H:%M"}, "2014-07-01 08:30:00"),
        ("01/07/2014 03:30 EST", {"date_format": "%m/%d/%Y %H:%M %Z"}, "2014-01-07 08:30:00"),
        ("1/7/14 3:30", {"date_format": "%m/%d/%y %H:%M"}, "2014-01-07 03:30:00"),
        ("1/7/14 3:30", {"date_format": "%m/%d/%Y %H:%M"}, "2014-01-07 03:30:00"),
        ("2014-02-01", {"date_format": "%Y-%d-%m"}, "2014-01-02 00:00:00"),
        ("13/13/2014", {"date_format": "dmy"}, None),
        ("07 janvier 2014", {"date_format": "%d janvier %Y"}, "2014-01-07 00:00:00"),
        *(
            (text, {"date_format": form, "timezone": "Asia/Tokyo"}, "2014-01-06 00:00:00")
            for text, form in (
                ("06.01.2014", "%d.%m.%Y"),
                ("6 January 2014", "%d %B %Y"),
                ("2014.006", "%Y.%j"),
                ("06/01/2014 +0900", "%d/%m/%Y %z"),
            )
        ),
        ("6.1.2014 um 9:30 Uhr", {"date_format": "%d.%m.%Y um %H:%M Uhr"}, "2014-01-06 09:30:00"),
        ("2014-02-01T09", {"date_format": "%Y-%d-%mT%H"}, "2014-01-02 09:00:00"),
    ],
)
def test_options_say_what_is_open(text, how, time):
    assert read_all([text], **how)[0][0] == time


@pytest.mark.parametrize(
    ("sql", "time"),
    [
        ("TIMESTAMPTZ '2014-01-06 02:00:00+00'", "2014-01-06 02:00:00"),
        ("TIMESTAMP '2014-01-06 02:00:00'", "2014-01-05 20:30:00"),
        ("TIMESTAMP_NS '2014-01-06 02:00:00.123456789'", "2014-01-05 20:30:00.123456"),
        ("TIMESTAMP_S '2014-01-06 02:00:00'", "2014-01-05 20:30:00"),
        ("CAST(TIMESTAMPTZ '2014-01-06 02:00:00+00' AS TIMESTAMPTZ_NS)", "2014-01-06 02:00:00"),
        ("TIMESTAMP_NS '2014-01-06 23:59:59.9999999'", "2014-01-06 18:29:59.999999"),
        ("DATE '2014-01-06'", "2014-01-06 00:00:00"),
        ("DATE 'infinity'", None),
        ("DATE '0001-01-01'", None),
        ("TIMESTAMP '294246-01-01'", None),
        ("TIMESTAMP '9999-12-31'", "9999-12-30 18:30:00"),
        ("TIME '02:00:00'", None),
        ("true", None),
        ("20140106", "2014-01-06 00:00:00"),
        ("1388999999", "2014-01-06 09:19:59"),
        ("CAST(1388999999 AS DOUBLE)", "2014-01-06 09:19:59"),
        ("CAST(1388999999000000000 AS DOUBLE)", "2014-01-06 09:19:59"),
        ("CAST(1389000000000000000 AS DOUBLE)", "2014-01-06 09:20:00"),
        ("CAST('NaN' AS DOUBLE)", None),
        ("CAST('2014-01-06 02:00:00Z' AS BLOB)", "2014-01-06 02:00:00"),
        ("CAST('x' AS ENUM ('x'))", None),
        ("[1]", None),
    ],
)
def test_each_type_is_read_by_its_rule(sql, time):
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE v AS SELECT {sql} AS v")
        kind = connection.execute("DESCRIBE v").fetchall()[0][1]
        timed = with_time_sql("v", "v", kind, TimeReading(timezone="+05:30"))
        [(found,)] = connection.execute(
            f"SELECT CAST(_t_time AS VARCHAR) FROM ({timed})"
        ).fetchall()
    assert found == time


# How a moment can be written, without leaving open which it is.
WRITTEN = (
    "%Y-%m-%d %H:%M:%S{offset}", "%Y-%m-%dT%H:%M:%S{offset}", "%d %b %Y %H:%M:%S {offset}",
    "%a, %d %B %Y %I:%M:%S %p {offset}", "%b %d, %Y %H:%M:%S {offset}", "%Y%m%d %H:%M:%S {offset}",
    "%a %b %d %H:%M:%S {offset} %Y", "{offset} %Y/%m/%d %H:%M:%S", "%d-%b-%Y %H:%M:%S {place}",
    "%Y-%m-%d %H:%M:%S {place}", "%d/%b/%Y:%H:%M:%S {offset}",
)  # fmt: skip
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2068, 12, 30)).map(
    lambda d: d.replace(microsecond=0, tzinfo=UTC)
)
PLACES = st.sampled_from(["America/New_York", "Europe/London", "Asia/Kolkata", "Australia/Sydney"])


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.tuples(MOMENTS, PLACES, st.sampled_from(WRITTEN)), min_size=1, max_size=40))
def test_whatever_the_form_the_moment_is_the_same(drawn):
    written, expected = [], []
    for moment, place, form in drawn:
        local = moment.astimezone(ZoneInfo(place))
        hour_later = (moment + timedelta(hours=1)).astimezone(ZoneInfo(place))
        hour_before = (moment - timedelta(hours=1)).astimezone(ZoneInfo(place))
        if "{place}" in form and not (
            hour_before.utcoffset() == local.utcoffset() == hour_later.utcoffset()
        ):
            continue  # the clock shows this hour twice
        offset = local.strftime("%z")
        if "S{offset}" in form:
            offset = f"{offset[:3]}:{offset[3:]}"
        written.append(local.strftime(form.format(offset=offset, place=place)))
        expected.append(str(moment.replace(tzinfo=None)))
    assert [time for time, _ in read_all(written)] == expected


def settled(values):
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE v (v VARCHAR)")
        connection.executemany("INSERT INTO v VALUES (?)", [[value] for value in values])
        reading = settle_order(connection, "v", "v", "VARCHAR", TimeReading())
        return reading.date_format, count_times(connection, "v", "v", "VARCHAR", reading)


@pytest.mark.parametrize(
    ("values", "order", "dated"),
    [
        (["1/6/14", "1/7/14", "12/31/13"], "mdy", 3),
        (["6.1.2014", "13.1.2014"], "dmy", 2),
        (["14-01-06", "14-01-07"], None, 0),  # 6 January 2014, or 14 January 2006
        (["99/01/06", "14/01/07"], "ymd", 2),
        (["1/6/2014", "1/7/2014"], None, 0),
        (["13/1/2014", "1/13/2014", "1/2/2014"], None, 2),
        (["2014-01-06", "x"], None, 1),
    ],
)
def test_a_column_settles_the_order_if_only_one_fits(values, order, dated):
    found, counts = settled(values)
    assert (found, counts.dated, counts.undated) == (order, dated, len(values) - dated)


@settings(max_examples=examples(25), deadline=None)
@given(
    st.lists(st.dates(datetime(1970, 1, 1).date(), datetime(2068, 12, 31).date()), min_size=1),
    st.sampled_from(ORDERS[:2]),
    st.sampled_from(["%y", "%Y"]),
    st.sampled_from("/-."),
)
def test_a_date_in_numbers_is_never_read_wrongly(days, order, year, mark):
    form = mark.join({"d": "%d", "m": "%m", "y": year}[part] for part in order)
    texts = [day.strftime(form) for day in days]
    how = {"date_format": settled(texts)[0]}
    for day, (time, _) in zip(days, read_all(texts, **how), strict=True):
        # With a year of two digits, another order may be the only one that fits by chance.
        if how["date_format"] in (None, order) and year == "%Y":
            assert time in (None, f"{day} 00:00:00")


@pytest.mark.parametrize(
    ("date_format", "timezone", "message"),
    [
        (None, "BST", "--timezone BST"),
        (None, "Europe/Nowhere", "--timezone Europe/Nowhere"),
        (None, "+25:00", "--timezone .25:00"),
        ("iso", None, "--date-format takes dmy, mdy or ymd"),
        ("%Q", None, "--date-format takes"),
        ("%H:%M", None, "--date-format takes"),
        ("%d/%m %H:%M", None, "--date-format takes"),
    ],
)
def test_settings_under_which_nothing_could_be_read_are_refused(date_format, timezone, message):
    with pytest.raises(UsageError, match=message):
        check_time_reading(date_format, timezone)
