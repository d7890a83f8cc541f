"""A night whose columns are not those of the table it is appended to."""

import os
import signal
from datetime import UTC, date, datetime

import duckdb
import polars as pl
import pytest

from finsent_batch.io.append.column_changes import ColumnPolicy, UnfitColumnsError, fit_columns

from ..helpers import forks

TO = ("-o", "news.duckdb", "--output-table", "headlines", "--append")
ALL = ("--on-new-columns", "add", "--on-missing-columns", "null", "--on-changed-types", "cast")


@pytest.fixture
def night(tmp_path):
    def write(name, texts, **columns):
        pl.DataFrame({"headline": texts, **columns}).write_parquet(tmp_path / f"{name}.parquet")

    return write


@pytest.fixture
def monday(score, night):
    """A table with one night of two rows."""
    prices = pl.Series([1, 2], dtype=pl.Int32)
    night("mon", ["Oil falls", "Sales rise"], price=prices, desk=["oil", "retail"])
    score("mon.parquet", *TO)


def rows(folder, columns, of="mon"):
    with duckdb.connect(folder / "news.duckdb", read_only=True) as connection:
        sql = f"SELECT {columns} FROM headlines WHERE input_file LIKE '%{of}.parquet' ORDER BY ALL"
        return connection.execute(sql).fetchall()


def types(folder):
    with duckdb.connect(folder / "news.duckdb", read_only=True) as connection:
        return {r[0]: r[1] for r in connection.execute("DESCRIBE headlines").fetchall()}


CHANGES = {
    "new": ({"price": [3], "desk": ["oil"], "ticker": ["X"]}, "--on-new-columns", "add"),
    "dropped": ({"price": [3], "desk": ["oil"], "ticker": ["X"]}, "--on-new-columns", "drop"),
    "missing": ({"price": [3]}, "--on-missing-columns", "null"),
    "wider": ({"price": [2**40], "desk": ["oil"]}, "--on-changed-types", "widen"),
    "double": ({"price": [1.5], "desk": ["oil"]}, "--on-changed-types", "widen"),
    "narrower": ({"price": pl.Series([3], dtype=pl.Int8), "desk": ["oil"]},
                 "--on-changed-types", "widen"),
    "retyped": ({"price": ["3"], "desk": ["oil"]}, "--on-changed-types", "cast"),
    "to text": ({"price": [3], "desk": [7]}, "--on-changed-types", "cast"),
}  # fmt: skip
TOLD = {
    "new": "column 'ticker' was added",
    "dropped": "column 'ticker' was left out",
    "missing": "column 'desk' is missing and NULL",
    "wider": "column 'price' was widened from INTEGER to BIGINT",
    "double": "column 'price' was widened from INTEGER to DOUBLE",
    "narrower": None,
    "retyped": "column 'price' was cast from VARCHAR to INTEGER",
    "to text": "column 'desk' was cast from BIGINT to VARCHAR",
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_column_is_refused_unless_told_and_then_taken(
    monday, score, run, night, tmp_path, tiny_model, kind
):
    columns, option, value = CHANGES[kind]
    if isinstance(columns["price"], list) and columns["price"] == [3]:
        columns = columns | {"price": pl.Series([3], dtype=pl.Int32)}
    night("tue", ["Bank cuts jobs"], **columns)
    before = (tmp_path / "news.duckdb").read_bytes()
    old = rows(tmp_path, "headline, price, desk, sentiment, p_positive, scored_at")
    refused = run("score", "tue.parquet", *TO, "--model", tiny_model)
    assert refused.code == 73
    assert option in refused.err
    assert (tmp_path / "news.duckdb").read_bytes() == before
    summary = score("tue.parquet", *TO, option, value)
    assert rows(tmp_path, "headline, price, desk, sentiment, p_positive, scored_at") == old
    assert len(rows(tmp_path, "headline", "tue")) == 1
    told = f"table 'headlines': {TOLD[kind]}"
    if TOLD[kind] is None:
        assert not summary["warnings"]
    else:
        assert told in summary["warnings"]
    if kind == "new":
        assert told.replace("'", "&#39;") in _page(run, tmp_path)
        assert rows(tmp_path, "ticker") == [(None,), (None,)]
        assert rows(tmp_path, "ticker", "tue") == [("X",)]
    if kind == "missing":
        assert rows(tmp_path, "desk", "tue") == [(None,)]
    if kind in ("wider", "double"):
        assert rows(tmp_path, "price", "tue") == [(columns["price"][0],)]
    # The first night's shape still fits, with what it lacks now taken as NULL.
    night("wed", ["Deal"], price=pl.Series([9], dtype=pl.Int32), desk=["oil"])
    score("wed.parquet", *TO, "--on-missing-columns", "null", "--on-changed-types", "widen")


def _page(run, folder):
    assert run("report", "-o", "r.html").code == 0
    return (folder / "r.html").read_text()


@pytest.mark.parametrize("value", ["1.5", "n/a", "007"])
def test_a_value_that_the_table_cannot_hold_exactly_ends_the_night(
    monday, run, night, tmp_path, tiny_model, value
):
    night("tue", ["Bank cuts jobs", "Oil falls"], price=["3", value], desk=["a", "b"])
    before = rows(tmp_path, "COLUMNS(*)"), types(tmp_path)
    done = run("score", "tue.parquet", *TO, *ALL, "--model", tiny_model)
    assert done.code == 65
    assert "cannot hold a value of column 'price' as INTEGER exactly, and nothing" in done.err
    assert (rows(tmp_path, "COLUMNS(*)"), types(tmp_path)) == before
    assert rows(tmp_path, "headline", "tue") == []


def test_another_order_of_columns_is_no_reason_to_fail(monday, score, night, tmp_path):
    frame = pl.DataFrame(
        {"desk": ["oil"], "price": pl.Series([3], dtype=pl.Int32), "headline": ["Deal"]}
    )
    frame.write_parquet(tmp_path / "tue.parquet")
    warnings = score("tue.parquet", *TO)["warnings"]
    assert warnings == ["table 'headlines': the columns came in another order"]
    assert rows(tmp_path, "headline, price, desk", "tue") == [("Deal", 3, "oil")]


@pytest.mark.parametrize("place", ["publish", "in_table", "before_table_commit", "table_committed"])
def test_killed_while_columns_change_old_rows_are_as_they_were(
    monday, score, night, tmp_path, tiny_model, place
):
    night("tue", ["Bank cuts jobs"], price=[2**40], ticker=["X"])
    old = rows(tmp_path, "headline, price, desk, sentiment, run_id, scored_at")
    columns = types(tmp_path)
    model = ("--model", tiny_model, "--weights", "fp32")
    command = [forks.COMMAND, "score", "tue.parquet", *TO, *ALL, *model]
    environment = {**os.environ, "FINSENT_FAILPOINT": f"{place}:kill"}
    done = forks.run(command, cwd=tmp_path, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert rows(tmp_path, "headline, price, desk, sentiment, run_id, scored_at") == old
    if place != "table_committed":
        assert types(tmp_path) == columns
    summary = score("tue.parquet", *TO, *ALL)
    assert summary["rows"]["unique_scored"] == 0
    assert rows(tmp_path, "headline, price, desk, sentiment, run_id, scored_at") == old
    assert rows(tmp_path, "headline, price, desk, ticker", "tue") == [
        ("Bank cuts jobs", 2**40, None, "X")
    ]  # fmt: skip
    assert types(tmp_path)["price"] == "BIGINT"


def test_types_widen_only_where_every_value_fits():
    policy = ColumnPolicy(types="widen")

    def fit(there, given):
        return fit_columns({"n": ("n", there)}, {"n": ("N", given)}, policy)

    assert fit("UINTEGER", "INTEGER").widened == {"N": ("UINTEGER", "BIGINT")}
    assert fit("DATE", "TIMESTAMP").widened == {"N": ("DATE", "TIMESTAMP")}
    assert not fit("BIGINT", "INTEGER").widened
    for there, given in (("BIGINT", "DOUBLE"), ("VARCHAR", "INTEGER"), ("TIMESTAMP", "TIME")):
        with pytest.raises(UnfitColumnsError, match="--on-changed-types cast"):
            fit(there, given)


DAY, CLOCK = date(2014, 1, 6), datetime(2014, 1, 6, 23, 30)
KINDS = {"day": DAY, "clock": CLOCK, "moment": CLOCK.replace(tzinfo=UTC)}


@pytest.mark.parametrize(
    ("there", "given"),
    [("day", "clock"), ("clock", "day"), ("clock", "moment"), ("moment", "clock")],
)
def test_a_change_of_types_moves_no_row_to_another_day(
    score, run, night, tmp_path, tiny_model, there, given
):
    zone = ("--timezone", "Asia/Tokyo" if "day" in (there, given) else "America/New_York")
    to = (*TO, "--on-changed-types", "cast")
    night("mon", ["Oil falls"], date=[KINDS[there]])
    night("tue", ["Sales rise"], date=[KINDS[given]])
    score("mon.parquet", *to, *zone)
    columns = types(tmp_path)
    # The zone of the rows that are there counts as well.
    for options in ((), zone):
        done = run("score", "tue.parquet", *to, *options, "--model", tiny_model)
        assert done.code == 73
        assert f"read in {zone[1]}, which would move them: cast it in the input, or" in done.err
        assert types(tmp_path) == columns
    # What is advised: the type that the table has.
    night("tue", ["Sales rise"], date=[KINDS[there]])
    score("tue.parquet", *to, *zone)
    days = run("query", "daily_sentiment").out.splitlines()[1:]
    assert [line.split(",")[1] for line in days] == ["2"]


def test_a_change_of_another_column_moves_no_row(score, night, tmp_path):
    zone = ("--timezone", "Asia/Tokyo")
    night("mon", ["Oil falls"], date=[CLOCK], updated=[DAY])
    night("tue", ["Sales rise"], date=[CLOCK], updated=[CLOCK])
    score("mon.parquet", *TO, *zone)
    score("tue.parquet", *TO, *zone, "--on-changed-types", "widen")
    assert types(tmp_path)["updated"] == "TIMESTAMP"


def test_in_utc_a_day_becomes_a_time_of_that_day(score, run, night):
    night("mon", ["Oil falls"], date=[DAY])
    night("tue", ["Sales rise"], date=[CLOCK])
    score("mon.parquet", *TO)
    score("tue.parquet", *TO, "--on-changed-types", "widen")
    assert run("query", "daily_sentiment").out.splitlines()[1].startswith("2014-01-06,2,")
