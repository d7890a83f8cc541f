"""The views kept in the store, and the packaged SQL run as the duckdb shell runs it."""

import logging
import re
from contextlib import contextmanager
from datetime import date, datetime
from importlib import resources

import duckdb
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.queries.catalog import load_query, query_names
from finsent_batch.queries.run import run_query, run_sql
from finsent_batch.store.store import Store
from finsent_batch.store.views import refresh_views

from ..conftest import REPOSITORY
from ..helpers.commands import run_in

VIEWS = ("scored_headlines", "daily_sentiment", "headline_scores", "evaluated_headlines")
NEEDED = {"sentiment_by": [("by_column", "source")]}
"""Parameters without which a query means nothing."""


def scored_nights(folder, model, words):
    """Score two nights into a folder's store and evaluate a model in it."""
    how = ("--model", model, "--weights", "fp32")
    for night in (6, 7):
        times = [datetime(2014, 1, night, hour) for hour in range(20)]
        text = words[(night - 6) * 15 :][:20]
        source = ["wire", "blog"] * 10
        columns = {"published_at": times, "headline": text, "source": source}
        pl.DataFrame(columns).write_parquet(folder / f"night{night}.parquet")
        run_in(folder, "score", f"night{night}.parquet", *how)
    labels = ["positive", "neutral", "negative"] * 4
    labelled = pl.DataFrame({"headline": words[:12], "label": labels})
    labelled.write_parquet(folder / "test.parquet")
    run_in(folder, "evaluate", *how, "--data", "test.parquet", "-o", "report")
    return StoreConfig(path=folder / "finsent.duckdb")


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_model, wordy):
    """A store that two nights were scored into and a model was evaluated in; only to be read."""
    return scored_nights(tmp_path_factory.mktemp("nights"), tiny_model, wordy(60))


@contextmanager
def opened(store):
    """Open a store by DuckDB alone, as its shell would, in another time zone."""
    with duckdb.connect(store.path, read_only=True) as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        yield connection


@pytest.fixture
def shell(store):
    with opened(store) as connection:
        yield connection


def columns_declared(text):
    comments = " ".join(ln.removeprefix("--") for ln in text.splitlines() if ln.startswith("--"))
    listed = re.search(r"columns: (.*?)(?: \(|  ?param |$)", " ".join(comments.split()))
    return [c.strip() for c in listed[1].split(",")]


@pytest.mark.parametrize("name", query_names())
def test_each_query_is_the_same_in_the_shell(name, store, shell):
    parameters = NEEDED.get(name, [])
    for key, value in parameters:
        shell.execute(f"SET VARIABLE {key} = '{value}'")
    expected = run_query(name, store, parameters=parameters)
    assert expected.columns == columns_declared(load_query(name).text)
    found = shell.sql(load_query(name).text)
    assert found.columns == expected.columns
    assert found.fetchall() == expected.rows()
    if name not in ("quarantine", "low_confidence", "model_disagreement", "reviews"):
        assert expected.height


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("daily_sentiment", {"since": "2014-01-07"}),
        ("labelled", {"limit": "3"}),
        ("low_confidence", {"threshold": "0.9", "limit": "4"}),
        ("drift", {"since": "2014-01-07", "baseline_since": "2014-01-06"}),
        ("confidence_histogram", {"bins": "5"}),
        ("calibration", {"bins": "3"}),
    ],
)
def test_variables_may_be_text_in_the_shell(name, parameters, store, shell):
    for key, value in parameters.items():
        shell.execute(f"SET VARIABLE \"{key}\" = '{value}'")  # `limit` is a word of SQL
    expected = run_query(name, store, parameters=list(parameters.items()))
    assert expected.height
    assert shell.sql(load_query(name).text).fetchall() == expected.rows()


@pytest.mark.parametrize(
    "name", [n for n in query_names() if load_query(n).reads("scored_headlines")]
)
def test_each_query_about_news_is_the_same_over_parquet_in_the_shell(name, store):
    parameters = NEEDED.get(name, [])
    expected = run_query(name, store, parameters=parameters)
    setup = resources.files("finsent_batch.sql").joinpath("_scored_parquet.sql").read_text("utf-8")
    with duckdb.connect(":memory:") as plain:
        plain.execute(f"SET VARIABLE scored = '{store.path.parent}/*.scored.parquet'")
        plain.execute(setup)
        for key, value in parameters:
            plain.execute(f"SET VARIABLE {key} = '{value}'")
        assert plain.sql(load_query(name).text).fetchall() == expected.rows()


@pytest.mark.parametrize("name", ["accuracy_by_class", "calibration", "confusion"])
def test_queries_about_accuracy_are_the_same_over_predictions_in_the_shell(name, store):
    file = str(store.path.parent / "report" / "predictions.parquet")
    expected = run_query(name, store, published=file)
    assert expected.height
    setup = resources.files("finsent_batch.sql").joinpath("_scored_parquet.sql").read_text("utf-8")
    with duckdb.connect(":memory:") as plain:
        plain.execute(f"SET VARIABLE scored = '{file}'")
        plain.execute(setup)
        assert plain.sql(load_query(name).text).fetchall() == expected.rows()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_and_every_column_of_it_but_the_user_s_own_is_documented(shell, view):
    comments = dict(
        shell.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ?", [view]
        ).fetchall()
    )
    own = {"published_at", "headline", "source"} if view == "scored_headlines" else set()
    assert {column for column, comment in comments.items() if comment is None} == own
    [(about,)] = shell.execute(
        "SELECT comment FROM duckdb_views() WHERE view_name = ?", [view]
    ).fetchall()
    assert about


def test_no_join_is_needed(shell):
    rows = shell.sql("""
        SELECT source, count(*) FROM scored_headlines
        WHERE sentiment IS NOT NULL AND news_time < '2014-01-07' GROUP BY source ORDER BY 1""")
    assert rows.fetchall() == [("blog", 10), ("wire", 10)]
    assert (
        shell.sql("SELECT DISTINCT model FROM headline_scores").fetchall()
        == shell.sql("SELECT DISTINCT model FROM runs").fetchall()
    )


def test_news_times_do_not_depend_on_the_shell_s_time_zone(shell):
    days = shell.sql("SELECT day, headlines FROM daily_sentiment").fetchall()
    assert days == [(date(2014, 1, 6), 20), (date(2014, 1, 7), 20)]


def test_a_file_that_is_gone_does_not_break_the_others(tmp_path, tiny_model, wordy):
    with opened(scored_nights(tmp_path, tiny_model, wordy(60))) as shell:
        (tmp_path / "night6.scored.parquet").unlink()
        assert shell.sql("SELECT day, headlines FROM daily_sentiment").fetchall() == [
            (date(2014, 1, 7), 20)
        ]
        (tmp_path / "night7.scored.parquet").unlink()
        for sql in (
            "FROM daily_sentiment",
            "SELECT count(*) FROM scored_headlines",
            "SELECT 1 FROM scored_headlines WHERE source = 'wire' AND news_time IS NOT NULL",
        ):
            with pytest.raises(duckdb.Error, match="no published output is there any more"):
                shell.sql(sql).fetchall()
        (tmp_path / "report" / "predictions.parquet").unlink()
        assert shell.sql("FROM evaluated_headlines").fetchall() == []


BLOCKS = re.findall(r"```sql\n(.*?)```", (REPOSITORY / "docs" / "sql.md").read_text("utf-8"), re.S)
COOKBOOK = [sql for sql in BLOCKS if "ATTACH" not in sql]
"""What `query --sql` answers."""
[ELSEWHERE] = [sql for sql in BLOCKS if "ATTACH" in sql]
"""The eleventh question, which is asked from another database."""


@pytest.mark.parametrize("statement", COOKBOOK, ids=range(len(COOKBOOK)))
def test_the_cookbook_s_answers_are_rows(statement, store, shell):
    expected = run_sql(statement, store)
    if "confidence < 0.5" not in statement and "one_says" not in statement:
        assert expected.num_rows
    found = shell.sql(statement)
    assert found.columns == expected.column_names
    if "duckdb_columns" not in statement:
        assert len(found.fetchall()) == expected.num_rows


def test_the_eleventh_answer_joins_a_table_of_one_s_own(store, tmp_path, wordy):
    text = [wordy(60)[0].upper(), "never scored"]
    pl.DataFrame({"headline": text}).write_parquet(tmp_path / "mine.parquet")
    statement = ELSEWHERE.replace("finsent.duckdb", str(store.path))
    statement = statement.replace("mine.parquet", str(tmp_path / "mine.parquet"))
    with duckdb.connect(":memory:") as elsewhere:
        rows = dict(row[:2] for row in elsewhere.execute(statement).fetchall())
    assert rows.keys() == set(text)
    assert rows["never scored"] is None
    assert rows[text[0]] in (None, "negative", "neutral", "positive")


def test_the_cookbook_has_eleven_questions():
    assert (len(COOKBOOK), len(BLOCKS)) == (1 + 10, 1 + 11)


# ---- files of many kinds


NEWS = [(datetime(2024, 5, 1, 9), "Oil falls", (0.75, 0.25, 0.0))]


def publish(config, *outputs):
    with Store.open(config) as store:
        for output in outputs:
            row = {"run_id": "r", "input": f"{output}.in", "output": str(output)}
            store.insert("run_files", {**row, "published_at": NEWS[0][0]})
        refresh_views(store)


def seen(config, sql="SELECT news_text, news_time FROM scored_headlines ORDER BY ALL"):
    with duckdb.connect(config.path, read_only=True) as plain:
        plain.execute("SET TimeZone = 'Asia/Tokyo'")
        return plain.sql(sql).fetchall()


def test_a_new_store_has_the_views_and_no_rows(tmp_path):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    publish(config)
    for view in VIEWS:
        assert seen(config, f"FROM {view}") == []


def test_csv_and_parquet_with_times_of_many_kinds(tmp_path, scored_table):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    times = {
        "naive": "2024-05-01 23:30:00",
        "offset": "2024-05-01 23:30:00-05:00",
        "zulu": "2024-05-01T23:30:00Z",
        "named": "2024-05-01 23:30:00 UTC",
        "day": "2024-05-01",
        "nonsense": "yesterday",
    }
    rows = [(None, name, (0.0, 0.0, 1.0)) for name in times]
    scored_table(rows, published_at=list(times.values())).write_csv(tmp_path / "a.csv")
    aware = pl.Series([NEWS[0][0]]).dt.replace_time_zone("Europe/Paris")
    scored_table(NEWS, published_at=aware).write_parquet(tmp_path / "b.parquet")
    scored_table(NEWS, date=[date(2024, 5, 3)]).write_parquet(tmp_path / "c.parquet")
    publish(config, *(tmp_path / name for name in ("a.csv", "b.parquet", "c.parquet")))
    evening = datetime(2024, 5, 1, 23, 30)
    found = seen(config)
    assert {text: time for text, time in found if text in times} == {
        "day": datetime(2024, 5, 1),
        "named": evening,
        "naive": evening,
        "nonsense": None,
        "offset": datetime(2024, 5, 2, 4, 30),
        "zulu": evening,
    }
    others = [time for text, time in found if text not in times]
    assert others == [datetime(2024, 5, 1, 7), datetime(2024, 5, 3)]


def test_paths_that_look_like_patterns(tmp_path, scored_table):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    for name, text in (("a[1].parquet", "meant"), ("a1.parquet", "not meant")):
        scored_table([(NEWS[0][0], text, (0.0, 0.0, 1.0))]).write_parquet(tmp_path / name)
    publish(config, tmp_path / "a[1].parquet")
    assert [row[0] for row in seen(config)] == ["meant"]
    for where in (None, str(tmp_path / "a[1].parquet")):
        found = run_query("labelled", config, published=where)
        assert found["headline"].to_list() == ["meant"]


def test_a_file_that_cannot_be_read_is_left_out_with_a_warning(tmp_path, scored_table, caplog):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    scored_table(NEWS).write_parquet(tmp_path / "good.parquet")
    (tmp_path / "bad.parquet").write_text("no Parquet")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with caplog.at_level(logging.WARNING, logger="finsent_batch"):
        publish(config, *(tmp_path / f"{name}.parquet" for name in ("good", "bad", "other")))
    assert [row[0] for row in seen(config)] == ["Oil falls"]
    assert re.search(r"bad.parquet cannot be read", caplog.text)
    assert re.search(r"other.parquet has no column 'sentiment'", caplog.text)
