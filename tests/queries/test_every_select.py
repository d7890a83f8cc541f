"""Any SELECT that DuckDB answers is shown, and written in every format."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

import finsent_batch as fb
from finsent_batch.config import StoreConfig
from finsent_batch.store.store import Store
from finsent_batch.store.views import refresh_views

from ..helpers.tables import read_table

NOON = datetime(2024, 6, 1, 12)
FORMATS = ("table", "csv", "json", "jsonl", "parquet", "markdown")
VALUES = {
    "list": "[1, NULL, 3]",
    "list of nothing": "[NULL, [NULL]]",
    "empty list": "[]",
    "array": "[1, 2]::INTEGER[2]",
    "struct": "{'x': 1, 'y': [1.5, 'nan'::DOUBLE]}",
    "tuple": "row(1, 0.1::FLOAT)",
    "map": "MAP {'a': 0.1::FLOAT, 'b': NULL}",
    "map of lists": "MAP {[1]: {'a': 1}}",
    "union": "union_value(n := 2)",
    "list of unions": "[union_value(n := 2)]",
    "enum": "'a'::ENUM('a', 'b')",
    "interval": "INTERVAL '1 month 2 days'",
    "list of intervals": "[INTERVAL 1 day]",
    "bit": "'0101'::BIT",
    "uuid": "'00000000-0000-0000-0000-000000000007'::UUID",
    "hugeint": "170141183460469231731687303715884105727::HUGEINT",
    "uhugeint": "340282366920938463463374607431768211455::UHUGEINT",
    "bignum": "123456789012345678901234567890123456789012::BIGNUM",
    "decimal": "1.50::DECIMAL(38, 10)",
    "nan": "'nan'::DOUBLE",
    "infinity": "'-inf'::FLOAT",
    "null": "NULL",
    "blob": "'\\xAA\\x00ab'::BLOB",
    "list of blobs": "['\\xAA'::BLOB]",
    "time": "TIME '01:02:03.5'",
    "time with zone": "TIMETZ '01:02:03+01'",
    "timestamp with zone": "TIMESTAMPTZ '2024-01-01 00:00:00+01'",
    "nanoseconds": "TIMESTAMP_NS '2024-01-01 00:00:00.123456789'",
    "far off": "TIMESTAMP 'infinity'",
    "before Christ": "'0044-03-15 (BC)'::DATE",
    "json": "'{\"a\": 1.5}'::JSON",
    "variant": "42::VARIANT",
    "text": "'a\"b,c' || chr(10) || '|d'",
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The folder of an empty store."""
    folder = tmp_path_factory.mktemp("empty")
    with Store.open(StoreConfig(path=folder / "finsent.duckdb")):
        return folder


@pytest.fixture(autouse=True)
def store(empty, tmp_path):
    """An empty store in the working folder."""
    for file in empty.iterdir():
        shutil.copy2(file, tmp_path)


def strict(text):
    """Read JSON as others do, who know no NaN."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_of_any_type_is_shown(run, kind):
    done = run("query", "--sql", f"SELECT {VALUES[kind]} AS value, 7 AS other", "--format", "table")
    assert (done.code, done.err) == (0, "")


def test_values_of_all_types_in_every_format(run, tmp_path):
    values = ", ".join(f"{value} AS v{i}" for i, value in enumerate(VALUES.values()))
    sql = f"SELECT {values}, 7 AS other"
    for format_ in FORMATS:
        suffix = {"table": "", "markdown": "md"}.get(format_, format_)
        done = run("query", "--sql", sql, *(["-o", f"out.{suffix}"] if suffix else
                                            ["--format", "table"]))  # fmt: skip
        assert (done.code, done.err) == (0, ""), (format_, done.err)
    rows = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [len(row) for row in rows] == [len(VALUES) + 1] * 2
    assert strict((tmp_path / "out.json").read_text())[0]["other"] == 7
    assert strict((tmp_path / "out.jsonl").read_text())["other"] == 7
    assert pq.read_table(tmp_path / "out.parquet").column("other").to_pylist() == [7]
    assert len((tmp_path / "out.md").read_text().splitlines()) == 3
    frame = fb.query_sql(sql, store=tmp_path / "finsent.duckdb")
    assert frame["other"].to_list() == [7]


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT 1 AS a, 2 AS a, 3 AS A", ["a", "a_1", "A_2"]),
        ("SELECT 1, 1", ["1", "1_1"]),
        ("SELECT * FROM runs AS one JOIN runs AS other ON true", None),
    ],
)
def test_columns_of_one_name(run, tmp_path, sql, names):
    for format_ in FORMATS:
        done = run("query", "--sql", sql, "-o", "out.csv", "--format", format_) if (
            format_ != "table"
        ) else run("query", "--sql", sql, "--format", "table")  # fmt: skip
        assert (done.code, done.err) == (0, "")
    if names is not None:
        assert run("query", "--sql", sql, "--format", "csv").out.splitlines()[0] == ",".join(names)
        assert list(fb.query_sql(sql, store=tmp_path / "finsent.duckdb").columns) == names


def test_no_rows(run):
    sql = "SELECT 1 AS a, [1] AS b WHERE false"
    said = {f: run("query", "--sql", sql, "--format", f).out for f in FORMATS if f != "parquet"}
    assert said["csv"] == "a,b\n"
    assert json.loads(said["json"]) == []
    assert said["jsonl"] == ""
    assert said["markdown"].splitlines()[0] == "| a | b |"
    assert read_table(said["table"]) == []
    assert said["table"].splitlines()[-1] == "no rows"


def test_numbers_are_numbers_in_json(run):
    sql = """SELECT sum(i) AS total, sum(i * 1.5) AS weighted, avg(i) AS mean, 0.1::FLOAT AS small,
        count(*) AS rows FROM range(5) AS t (i)"""
    [row] = run("query", "--sql", sql, "--format", "json").json
    assert row == {"total": 10, "weighted": 15.0, "mean": 2.0, "small": 0.1, "rows": 5}


def test_sums_are_exact_in_parquet(run, tmp_path):
    sql = f"SELECT sum(i) AS total, {VALUES['hugeint']} AS far FROM range(5) AS t (i)"
    done = run("query", "--sql", sql, "-o", "out.parquet")
    assert (done.code, done.err) == (0, "")
    assert pl.read_parquet(tmp_path / "out.parquet").rows() == [
        (Decimal(10), "170141183460469231731687303715884105727")
    ]


def test_files_have_all_digits_and_a_terminal_the_first(run):
    sql = "SELECT 1 / 3 AS third, TIMESTAMP '2024-01-01 10:00:00.123456' AS moment"
    [row] = read_table(run("query", "--sql", sql, "--format", "table").out)
    assert row == {"third": "0.3333", "moment": "2024-01-01 10:00:00"}
    for format_ in ("csv", "json", "jsonl", "markdown"):
        out = run("query", "--sql", sql, "--format", format_).out
        assert "0.3333333333333333" in out
        assert "2024-01-01 10:00:00.123456" in out


COUNT = "SELECT i, 'headline ' || i AS text FROM range(33422) AS t (i)"


def test_a_table_is_capped_and_says_so(run):
    lines = run("query", "--sql", COUNT, "--format", "table").out.splitlines()
    assert len(lines) == 43
    assert lines[-1] == "40 of 33,422 rows; --limit N shows more, --all all of them"
    lines = run("query", "--sql", COUNT, "--format", "table", "--limit", "5").out.splitlines()
    assert len(lines) == 8
    assert lines[-1].startswith("5 of 33,422 rows")
    assert len(run("query", "--sql", COUNT, "--format", "table", "--all").out.splitlines()) == 33424
    assert len(run("query", "--sql", COUNT, "--format", "csv").out.splitlines()) == 33423
    done = run("query", "--sql", COUNT, "--format", "csv", "--limit", "3")
    assert len(done.out.splitlines()) == 4
    assert done.err == "3 of 33,422 rows written, as --limit says\n"


def command(*arguments):
    return [str(Path(sys.executable).parent / "finsent-batch"), "query", *arguments]


def test_output_follows_what_stands_in_a_file_already(tmp_path):
    with (tmp_path / "out.csv").open("w") as file:
        file.write("before\n")
        file.flush()
        subprocess.run(command("--sql", "SELECT 1 AS a"), cwd=tmp_path, stdout=file, check=True)
        file.seek(0, os.SEEK_END)
        file.write("after\n")
    assert (tmp_path / "out.csv").read_text() == "before\na\n1\nafter\n"


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_a_reader_that_has_had_enough_is_the_end(tmp_path, format_):
    arguments = command("--sql", "FROM range(2000000)", "--format", format_)
    with subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_a_full_standard_output_is_one_line(tmp_path, format_):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("--sql", "FROM range(200000)", "--format", format_),
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 74
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr


def publish(folder, scored_table):
    """Write two published files, the second of 4,000 rows with a list in each, and their store."""
    rows = [(None, f"Oil falls {i}", (0.75, 0.25, 0.0)) for i in range(4_000)]
    scored_table(rows[:2]).write_parquet(folder / "one.parquet")
    frame = scored_table(rows).with_columns(tags=pl.Series([["a", str(i)] for i in range(4_000)]))
    frame.write_parquet(folder / "two.parquet", row_group_size=500)
    with Store.open(StoreConfig(path=folder / "finsent.duckdb")) as opened:
        opened.insert("runs", {"run_id": "r", "status": "done", "started_at": NOON})
        for name in ("one.parquet", "two.parquet"):
            row = {"run_id": "r", "input": name, "output": str(folder / name)}
            opened.insert("run_files", row | {"published_at": NOON})
        refresh_views(opened)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, scored_table):
    folder = tmp_path_factory.mktemp("published")
    publish(folder, scored_table)
    return folder


@pytest.fixture
def published(kept, tmp_path):
    """Two published files, and copies of them and of their store in the working folder."""
    return shutil.copytree(kept, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize("format_", FORMATS)
def test_published_lists_in_every_format(run, published, format_):
    target = ["--format", "table"] if format_ == "table" else ["-o", "out.x", "--format", format_]
    done = run("query", "--sql", "FROM scored_headlines ORDER BY headline LIMIT 5", *target)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("where", [[], ["--from", "two.parquet"], ["--from", "t*.parquet"]])
@pytest.mark.parametrize("format_", ["table", "csv", "parquet"])
def test_a_published_file_that_is_damaged_is_one_line(run, tmp_path, scored_table, format_, where):
    for file in tmp_path.iterdir():
        file.unlink()
    publish(tmp_path, scored_table)
    file = tmp_path / "two.parquet"
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    file.write_bytes(content)
    done = run("query", "--sql", "FROM scored_headlines", "--format", format_, *where)
    assert len(done.err.splitlines()) == 1, done.err
    assert "two.parquet" in done.err
    if where:
        assert (done.code, done.out) == (65, "")
    else:  # the other one is read
        assert done.code == 0
        assert "cannot be read and is left out" in done.err


def test_explain_is_shown_as_it_is(run):
    done = run("query", "--sql", "EXPLAIN FROM scores", "--format", "table")
    assert done.code == 0
    assert len(done.out.splitlines()) > 3


def test_what_explain_analyze_would_write_is_refused(run, published):
    before = (published / "one.parquet").read_bytes()
    for how in ("EXPLAIN ANALYZE", "explain /* x */ analyze", "EXPLAIN (ANALYZE, FORMAT json)"):
        sql = f"{how} COPY (SELECT 2 AS a) TO '{published}/one.parquet' (USE_TMP_FILE false)"
        more = "/* scored_headlines */"
        done = run("query", "--sql", f"{sql} {more}")
        assert done.code == 2, how
        assert "--sql only reads, and COPY would not" in done.err
    assert (published / "one.parquet").read_bytes() == before


def test_tables_are_listed_once(run, published):
    for sql in (
        "SHOW TABLES",
        "-- all of them\nshow tables;",
        "/* scored_headlines */ SHOW TABLES",
    ):
        names = run("query", "--sql", sql, "--format", "csv").out.split()
        assert len(names) == len(set(names))
        assert {"scores", "runs", "scored_headlines", "headline_scores"} <= set(names)


@pytest.mark.parametrize(
    "sql",
    [
        "PIVOT runs ON status USING count(*)",
        "FROM (PIVOT runs ON status USING count(*))",
        "SUMMARIZE runs",
        "DESCRIBE runs",
        "SHOW runs",
        "VALUES (1), (2)",
        "FROM runs",
        "TABLE runs",
        "WITH a AS (SELECT 1) FROM a",
        "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b",
        "(SELECT 1) -- a remark; with a semicolon",
    ],
)
def test_whatever_reads_is_allowed(run, published, sql):
    for format_ in ("table", "csv", "json"):
        done = run("query", "--sql", sql, "--format", format_)
        assert (done.code, done.err) == (0, "")


def test_parameters_of_own_sql(run, published):
    def asked(sql, *pairs):
        options = [part for pair in pairs for part in ("--param", pair)]
        return run("query", "--sql", sql, *options)

    assert asked("SELECT $n + 1 AS n", "n=4").out == "n\n5\n"
    assert asked("SELECT upper($word) AS w", "word=x y").out == "w\nX Y\n"
    assert (
        asked("SELECT DATE '2024-01-02' > $day AS later", "day=2024-01-01").out == "later\ntrue\n"
    )
    assert asked("SELECT getvariable('n') + 1 AS n", "n=4").out == "n\n5\n"
    assert asked("SELECT count(*) AS n FROM scored_headlines WHERE p_negative > $p", "p=0.5",
                 "date_column=scored_at").out == "n\n4002\n"  # fmt: skip
    done = asked("SELECT $ticker")
    assert "--sql has $ticker: give it a value with --param ticker=…" in done.err
    done = asked("SELECT $ticker", "ticker=a", "tickr=b")
    assert (done.code, "--param tickr: --sql has no $tickr; did you mean $ticker?" in done.err) == (
        2, True,
    )  # fmt: skip
    assert "it has none" in asked("SELECT 1", "a=1").err
    frame = fb.query_sql("SELECT $n + 1 AS n", store=published / "finsent.duckdb", n=4)
    assert frame.rows() == [(5,)]


def test_sql_from_a_file_and_from_standard_input(run, tmp_path, monkeypatch):
    (tmp_path / "mine.sql").write_text("\ufeff-- mine\nSELECT 1 AS a;\n", "utf-8")
    assert run("query", "--sql", "mine.sql").out == "a\n1\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 2 AS a"))
    assert run("query", "--sql", "-").out == "a\n2\n"
    done = run("query", "--sql", "other.sql")
    assert (done.code, "--sql other.sql does not exist" in done.err) == (66, True)
    (tmp_path / "binary.sql").write_bytes(b"\xff\xfe\x00")
    assert run("query", "--sql", "binary.sql").code == 65


def test_the_parameters_of_a_query_are_its_help(run):
    done = run("query", "low_confidence", "--help")
    assert done.code == 0
    said = " ".join(done.out.split())
    assert (
        "threshold DOUBLE. Highest probability below which a headline is listed. [default: 0.5]"
        in said
    )
    assert "model VARCHAR." in said
    assert "Columns: headline, sentiment, confidence," in said
    assert "[required]" in run("query", "-h", "sentiment_by").out
    assert "date_column" in run("query", "daily_sentiment", "--help").out
    assert run("query", "zzz", "--help").code == 2
    assert "--sql SELECT" in " ".join(run("query", "--help").out.split())


def test_folders_and_patterns_of_scored_files(run, published):
    (published / "feeds").mkdir()
    for name in ("one.parquet", "two.parquet"):
        (published / name).rename(published / "feeds" / name)
    (published / "feeds" / "input.csv").write_text("headline\nOil falls\n")
    for where, rows in (("feeds", 4_002), ("feeds/*.parquet", 4_002), ("feeds/o*", 2)):
        done = run("query", "label_mix", "--from", where, "--format", "json")
        assert done.code == 0, done.err
        assert sum(row["rows"] for row in done.json) == rows
        others = "1 file of feeds without labels left out" in done.err
        assert others == (where == "feeds")


def test_the_least_sure_of_one_model_and_of_a_file(run, tmp_path, scored_table):
    rows = [(None, "Oil  falls", (0.4, 0.35, 0.25)), (None, "Sales rise", (0.0, 0.1, 0.9))]
    frame = scored_table(rows)
    frame.write_parquet(tmp_path / "one.parquet")
    frame.with_columns(model_fingerprint=pl.lit("e" * 32)).write_parquet(tmp_path / "two.parquet")
    asked = ("query", "low_confidence", "--from", "*.parquet", "--format", "json")
    assert [row["headline"] for row in run(*asked).json] == ["Oil falls"] * 2
    [row] = run(*asked, "--param", "model=ee").json
    assert row["model_fingerprint"] == "e" * 32
    assert len(run(*asked, "--param", "model=e", "--param", "threshold=1").json) == 2
    done = run("query", "model_disagreement", "--from", "*.parquet", "--format", "json")
    assert (done.code, done.json) == (0, [])


def test_the_default_connection_of_others_is_left_alone(run):
    assert run("query", "--sql", "SELECT 1").code == 0
    assert duckdb.sql("SELECT current_setting('enable_external_access')").fetchall() == [(True,)]
