"""Where published rows are found: named files, or all that the store's runs published."""

from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.queries import run as queries
from finsent_batch.queries.catalog import Query
from finsent_batch.queries.run import run_query
from finsent_batch.store.store import Store

NEWS = [
    (datetime(2024, 5, 1, 9), "Oil falls", (0.75, 0.25, 0.0)),
    (datetime(2024, 5, 1, 23, 59), "Sales rise", (0.0, 0.25, 0.75)),
    (datetime(2024, 5, 2, 8), None, None),
]
SCORED_AT = datetime(2024, 6, 1, 12)


def ask(name, published, **parameters):
    """Run a query on a published table and return its rows."""
    frame = run_query(
        name, StoreConfig(), parameters=list(parameters.items()), published=str(published)
    )
    return frame.rows()


def test_parquet_csv_and_duckdb_give_the_same_rows(tmp_path, scored_table):
    frame = scored_table(NEWS)
    frame.write_parquet(tmp_path / "news.parquet")
    frame.write_csv(tmp_path / "news.csv")
    with duckdb.connect(tmp_path / "news.duckdb") as connection:
        connection.register("frame", frame.to_arrow())
        connection.execute('CREATE TABLE "odd ""name" AS FROM frame')
    for name in ("daily_sentiment", "label_mix", "labelled", "most_negative", "most_positive"):
        expected = ask(name, tmp_path / "news.parquet")
        assert expected
        assert ask(name, tmp_path / "news.csv") == expected
        assert ask(name, f'{tmp_path / "news.duckdb"}::odd "name') == expected


def test_csv_with_delimiters_quotes_and_line_breaks_in_headlines(tmp_path, scored_table):
    headlines = ["a; b; c", 'say "no", again', "two\nlines", "tab\there | x"]
    rows = [(NEWS[0][0], text, (0.0, 0.0, 1.0)) for text in headlines]
    scored_table(rows).write_csv(tmp_path / "odd.csv")
    found = ask("labelled", tmp_path / "odd.csv")
    assert {row[1] for row in found} == set(headlines)


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (("time", "date", "published_at"), "published_at"),
        (("time", "date"), "date"),
        (("time", "day"), "time"),
        (("day",), "scored_at"),
    ],
)
def test_the_date_column_is_the_first_usual_one(tmp_path, columns, chosen, scored_table):
    times = {name: datetime(2020, 1, 1 + i) for i, name in enumerate(columns)}
    frame = scored_table(NEWS[:1], **{name: [time] for name, time in times.items()})
    frame.write_parquet(tmp_path / "t.parquet")
    [row] = ask("labelled", tmp_path / "t.parquet")
    assert row[0] == {**times, "scored_at": SCORED_AT}[chosen]


def test_date_and_text_columns_may_be_named(tmp_path, scored_table):
    frame = scored_table(NEWS[:1], day=["2020-02-03"], body=["The body"])
    frame.write_parquet(tmp_path / "t.parquet")
    [row] = ask("labelled", tmp_path / "t.parquet", date_column="day", text_column="body")
    assert row[:2] == (datetime(2020, 2, 3), "The body")


def test_times_with_an_offset_are_taken_to_utc(tmp_path, scored_table):
    scored_table(NEWS[:1], published_at=["2024-05-01 23:30:00-05:00"]).write_csv(tmp_path / "t.csv")
    [row] = ask("daily_sentiment", tmp_path / "t.csv")
    assert row[0] == date(2024, 5, 2)


def test_columns_named_like_the_view_s_own_are_left_aside(tmp_path, scored_table):
    scored_table(NEWS[:1], date=[NEWS[0][0]], news_time=["never"], News_Text=["x"]).write_parquet(
        tmp_path / "t.parquet"
    )
    [row] = ask("labelled", tmp_path / "t.parquet")
    assert row[:2] == NEWS[0][:2]


# ---- the store's own publications


def publish(config, *entries):
    """Record publications (run, input, output[, table]) in a store, one minute apart."""
    with Store.open(config) as store:
        for minute, (run_id, input_, output, *table) in enumerate(entries):
            row = {"run_id": run_id, "input": input_, "output": str(Path(output).resolve())}
            row |= {"output_table": table[0] if table else None}
            store.insert("run_files", {**row, "published_at": SCORED_AT.replace(minute=minute)})


@pytest.fixture
def files(tmp_path, scored_table):
    """Five one-row tables, each with its own name as headline."""
    for name in "abcde":
        scored_table([(NEWS[0][0], name, (0.0, 0.0, 1.0))]).write_parquet(
            tmp_path / f"{name}.parquet"
        )
    return tmp_path


def headlines(config):
    return sorted(run_query("labelled", config)["headline"])


def test_by_default_all_that_was_published_is_read(files):
    config = StoreConfig(path=files / "s.duckdb")
    publish(config, ("1", "x.csv", files / "a.parquet"), ("1", "y.csv", files / "b.parquet"))
    assert headlines(config) == ["a", "b"]


def test_of_each_input_the_latest_publication_is_read(files):
    config = StoreConfig(path=files / "s.duckdb")
    publish(
        config,
        ("1", "x.csv", files / "a.parquet"),
        ("1", "y.csv", files / "b.parquet"),
        ("2", "x.csv", files / "c.parquet"),
    )
    assert headlines(config) == ["b", "c"]


def test_a_publication_that_is_gone_gives_way_to_the_one_before(files):
    config = StoreConfig(path=files / "s.duckdb")
    entries = [("1", "x.csv", files / "a.parquet"), ("2", "x.csv", files / "b.parquet")]
    publish(config, *entries)
    (files / "b.parquet").unlink()
    assert headlines(config) == ["a"]


def test_tables_of_one_duckdb_file_and_one_that_was_dropped(files):
    config = StoreConfig(path=files / "s.duckdb")
    with duckdb.connect(files / "out.duckdb") as connection:
        for name in "ab":
            connection.execute(f"CREATE TABLE {name} AS FROM '{files / name}.parquet'")
    out = files / "out.duckdb"
    publish(config, ("1", "x", out, "a"), ("1", "y", out, "b"), ("1", "z", out, "gone"))
    assert headlines(config) == ["a", "b"]


def test_files_whose_other_columns_differ_are_read_together(files, scored_table):
    config = StoreConfig(path=files / "s.duckdb")
    scored_table(NEWS[:1], tags=[["x"]], n=[1]).write_parquet(files / "a.parquet")
    scored_table(NEWS[:1], tags=[7], n=["one"]).write_parquet(files / "b.parquet")
    publish(config, ("1", "x.csv", files / "a.parquet"), ("1", "y.csv", files / "b.parquet"))
    assert run_query("label_mix", config)["rows"].to_list() == [2]


def test_sql_reaches_no_other_file(tmp_path, monkeypatch):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    stolen = Query(
        name="steal",
        summary="",
        text=f"SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')",
        parameters=(),
    )
    row = {"run_id": "r", "input": "i", "reason": "x", "recorded_at": SCORED_AT}
    with Store.open(StoreConfig(path=tmp_path / "s.duckdb")) as store:
        store.insert("quarantine", row)
    monkeypatch.setattr(queries, "load_query", lambda name: stolen)
    with pytest.raises(duckdb.PermissionException):
        queries.run_query("steal", StoreConfig(path=tmp_path / "s.duckdb"))
