"""`query --sql`: what it reads, and that it writes nothing."""

import subprocess
import sys
from datetime import datetime

import duckdb
import polars as pl
import pyarrow as pa
import pytest

import finsent_batch as fb
from finsent_batch.config import StoreConfig
from finsent_batch.store.store import Store
from finsent_batch.store.views import refresh_views

NOON = datetime(2024, 6, 1, 12)


@pytest.fixture(autouse=True)
def store(tmp_path, scored_table):
    """A store with one run, one score and two published rows, one of them in a DuckDB file."""
    frame = scored_table([(NOON, "Oil falls", (0.75, 0.25, 0.0))])
    frame.write_parquet(tmp_path / "news.parquet")
    with duckdb.connect(tmp_path / "out.duckdb") as connection:
        connection.register("frame", frame.to_arrow())
        connection.execute("CREATE TABLE news AS FROM frame")
    path = tmp_path / "finsent.duckdb"
    with Store.open(StoreConfig(path=path)) as opened:
        opened.insert("runs", {"run_id": "r", "status": "done", "started_at": NOON})
        opened.insert("models", {"model_fingerprint": "f", "model": "m"})
        score = {"headline_key": "0" * 32, "model_fingerprint": "f", "headline": "Oil falls"}
        score |= {"p_negative": 0.75, "p_neutral": 0.25, "p_positive": 0, "truncated": False}
        opened.insert("scores", score | {"run_id": "r", "scored_at": NOON})
        for file, table in (("news.parquet", None), ("out.duckdb", "news")):
            row = {"run_id": "r", "input": file, "output": str(tmp_path / file)}
            opened.insert("run_files", row | {"output_table": table, "published_at": NOON})
        refresh_views(opened)
    return path


def test_tables_and_views_can_be_read(run):
    asked = {
        "SELECT run_id FROM runs": "run_id\nr\n",
        "SELECT count(*) AS n FROM scored_headlines": "n\n2\n",
        "SELECT day, headlines FROM daily_sentiment": "day,headlines\n2024-06-01,2\n",
        "FROM headline_scores SELECT model, sentiment;": "model,sentiment\nm,negative\n",
        "SELECT count(*) AS n FROM evaluated_headlines": "n\n0\n",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a -- a remark": "x\n1\n",
        "VALUES (1)": "col0\n1\n",
    }
    for statement, expected in asked.items():
        done = run("query", "--sql", statement)
        assert (done.code, done.out) == (0, expected), done.err
    assert "headline_key" in run("query", "--sql", "DESCRIBE headline_scores").out
    assert "SCORES" in run("query", "--sql", "EXPLAIN FROM scores", "--format", "json").out.upper()


def test_formats_and_files(run, tmp_path):
    done = run("query", "--sql", "SELECT headline_key, sum(3) AS n FROM scores GROUP BY 1",
               "-o", "x.parquet")  # fmt: skip
    assert done.code == 0, done.err
    assert pl.read_parquet(tmp_path / "x.parquet").rows() == [
        ("00000000-0000-0000-0000-000000000000", 3)
    ]


def test_a_named_file(run):
    done = run("query", "--sql", "SELECT news_text FROM scored_headlines", "--from", "news.parquet")
    assert done.out == "news_text\nOil falls\n"


ONE = "--sql only reads, and {} would not: write one SELECT, or use your own database"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM scores", ONE.format("DELETE")),
        ("INSERT INTO runs (run_id) VALUES ('x')", ONE.format("INSERT")),
        ("UPDATE runs SET status = 'x'", ONE.format("UPDATE")),
        ("CREATE TABLE t AS SELECT 1", ONE.format("CREATE")),
        ("DROP VIEW daily_sentiment", ONE.format("DROP")),
        ("COPY scores TO 'stolen.parquet'", ONE.format("COPY")),
        ("ATTACH 'other.duckdb'", ONE.format("ATTACH")),
        ("SET enable_external_access = true", ONE.format("SET")),
        ("INSTALL httpfs", ONE.format("LOAD")),
        ("CHECKPOINT", "--sql only reads"),
        (
            "WITH a AS (DELETE FROM scores RETURNING 1) FROM a",
            ONE.format("a write in a SELECT"),
        ),
        ("EXPLAIN ANALYZE DELETE FROM scores", ONE.format("DELETE")),
        ("SELECT 1; DROP TABLE scores", "--sql takes one statement, not 2"),
        ("", "--sql takes one statement, not 0"),
        ("SELEC 1", '--sql: Parser Error: syntax error at or near "SELEC"'),
        ("SELECT x FROM scores", '--sql: Binder Error: Referenced column "x" not found'),
        ("FROM nowhere", "--sql: Catalog Error: Table with name nowhere does not exist"),
        ("FROM read_csv('secret.csv')", "--sql reaches the store and what was published"),
        ("FROM read_text('secret.csv')", "--sql reaches the store and what was published"),
        ("FROM 'secret.csv'", "--sql"),
        ("SELECT CAST('x' AS INTEGER)", "--sql: Conversion Error"),
    ],
)
def test_what_does_not_read_is_refused_in_one_line(run, store, tmp_path, statement, message):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    before = store.read_bytes()
    done = run("query", "--sql", statement)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""
    assert store.read_bytes() == before
    assert not (tmp_path / "stolen.parquet").exists()


def test_sql_is_a_query_by_itself(run):
    done = run("query", "--sql", "SELECT 1", "label_mix")
    assert done.code == 2
    assert "--sql is a query by itself: leave out NAME" in done.err


def test_a_store_that_a_job_is_writing_to_is_named_with_its_process(run, store):
    program = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, store],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        for arguments in (["label_mix"], ["--sql", "FROM runs"]):
            done = run("query", *arguments)
            assert done.code == 75
            assert f"is in use by process {process.pid} " in done.err
        process.stdin.close()


def test_from_python(store):
    frame = fb.query_sql("SELECT run_id, started_at FROM runs", store=store)
    assert frame.rows() == [("r", NOON)]
    table = fb.query_sql("SELECT count(*) AS n FROM scored_headlines", store=store, frame="arrow")
    assert isinstance(table, pa.Table)
    assert table.to_pydict() == {"n": [2]}
    found = fb.query("label_mix", store=store, frame="arrow")
    assert isinstance(found, pa.Table)
    assert found.column("rows").to_pylist() == [2]
    spans = fb.query_sql(
        "SELECT max(scored_at) - TIMESTAMP '2024-06-01' AS span FROM scores", store=store
    )
    assert spans["span"].to_list() == ["12:00:00"]
