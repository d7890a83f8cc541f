"""SQL functions on anybody's connection: what `score` would say, each text scored once."""

import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import finsent_batch as fb
from finsent_batch.headlines import headline_key, normalize
from finsent_batch.pipeline import score_stage
from finsent_batch.store.score_index import ScoreIndex

LABELS = ("p_negative", "p_neutral", "p_positive")


@pytest.fixture
def connection(headlines: pl.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the headlines as the table `news`."""
    with duckdb.connect() as opened:
        opened.register("given", headlines.select("headline").with_row_index("i").to_arrow())
        opened.execute("CREATE TABLE news AS FROM given")
        yield opened


@pytest.fixture
def register(
    connection: duckdb.DuckDBPyConnection, tiny_model: Path, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """Give the connection the functions, of the tiny model and a store of the test's own."""
    made = []

    def call(**changes: Any) -> Any:
        options = {"model": tiny_model, "store": tmp_path / "s.duckdb", "weights": "fp32"}
        made.append(fb.register(connection, **options | changes))
        return made[-1]

    yield call
    for functions in made:
        functions.close()


@pytest.fixture
def scored_times(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts the model has been given, a number each time."""
    counts: list[int] = []
    score_pending = score_stage.score_pending

    def counted(run: Any, plan: Any, progress: Any) -> None:
        counts.append(plan.pending)
        score_pending(run, plan, progress)

    monkeypatch.setattr("finsent_batch.pipeline.text_run.score_pending", counted)
    return counts


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


def runs_of(store: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(store, read_only=True) as opened:
        return rows(opened, "SELECT status, rows_read, unique_scored, summary FROM runs")


EVERYTHING = (
    "SELECT sentiment(headline), sentiment_score(headline), "
    f"{', '.join(f'{name}(headline)' for name in LABELS)} FROM news ORDER BY i"
)


def test_they_say_what_score_says(
    connection: duckdb.DuckDBPyConnection,
    register: Callable[..., Any],
    scored_times: list[int],
    headlines: pl.DataFrame,
    tiny_model: Path,
) -> None:
    functions = register()
    answers = rows(connection, EVERYTHING)
    assert len(scored_times) == 1, "five functions of one column ask once"
    with fb.Scorer(tiny_model, weights="fp32") as scorer:
        expected = scorer.score_frame(headlines)
    columns = ["sentiment", "sentiment_score", *LABELS]
    assert [row[0] for row in answers] == expected["sentiment"].to_list()
    for number, name in enumerate(columns[1:], start=1):
        for row, value in zip(answers, expected[name].to_list(), strict=True):
            assert row[number] == (None if value is None else pytest.approx(value, abs=1e-5))
    assert [None] * 5 in [list(row) for row in answers], "without text there is no answer"
    assert functions.model_fingerprint in expected["model_fingerprint"].to_list()


def test_a_text_is_scored_once(
    connection: duckdb.DuckDBPyConnection,
    register: Callable[..., Any],
    scored_times: list[int],
    headlines: pl.DataFrame,
    tmp_path: Path,
) -> None:
    register()
    first = rows(connection, EVERYTHING)
    assert rows(connection, EVERYTHING) == first
    assert rows(connection, "SELECT sentiment('  A  new one ') = sentiment('A new one')") == [
        (True,)
    ]
    register()  # in place of the first ones
    assert rows(connection, EVERYTHING) == first
    distinct = len({text for text in normalize(headlines["headline"].to_list()) if text})
    assert scored_times == [distinct, 1]
    [(status, read, scored, summary)] = runs_of(tmp_path / "s.duckdb")
    assert (status, read, scored) == ("done", distinct + 1, distinct + 1)
    assert json.loads(summary)["rows"]["scored"] + json.loads(summary)["rows"]["truncated"] == read


def test_what_another_run_has_scored_meanwhile_is_taken(
    connection: duckdb.DuckDBPyConnection,
    register: Callable[..., Any],
    headlines: pl.DataFrame,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    with fb.Scorer(tiny_model, store=tmp_path / "s.duckdb", weights="fp32") as scorer:
        expected = scorer.score_frame(headlines)["sentiment"].to_list()

    def never(*_: object) -> None:
        raise AssertionError("the model is not needed")

    monkeypatch.setattr("finsent_batch.pipeline.text_run.score_pending", never)
    assert [row[0] for row in rows(connection, EVERYTHING)] == expected
    register()
    assert [row[0] for row in rows(connection, EVERYTHING)] == expected


def test_they_stand_wherever_a_function_may(
    connection: duckdb.DuckDBPyConnection, register: Callable[..., Any]
) -> None:
    register()
    labels = [row[0] for row in rows(connection, EVERYTHING)]
    counts = dict(rows(connection, "SELECT sentiment(headline), count(*) FROM news GROUP BY 1"))
    assert counts == {label: labels.count(label) for label in set(labels)}
    [(mean,)] = rows(connection, "SELECT avg(sentiment_score(headline)) FROM news")
    assert -1 <= mean <= 1
    kept = "SELECT i FROM news WHERE sentiment(headline) = 'positive' ORDER BY p_positive(headline)"
    assert len(rows(connection, kept)) == labels.count("positive")
    connection.execute("CREATE TABLE kept AS SELECT *, sentiment(headline) AS s FROM news")
    assert [r[0] for r in rows(connection, "SELECT s FROM kept ORDER BY i")] == labels
    assert rows(connection, "SELECT sentiment(7) IS NULL, sentiment(NULL)") == [(False, None)]


def test_many_rows_in_many_threads(
    connection: duckdb.DuckDBPyConnection, register: Callable[..., Any], scored_times: list[int]
) -> None:
    register()
    connection.execute("SET threads = 4")
    connection.execute("""CREATE TABLE many AS
        SELECT 'Plant number ' || (i % 97) || ' opens' AS headline FROM range(300000) AS r (i)""")
    sql = "SELECT headline, min(p_neutral(headline)), max(p_neutral(headline)) FROM many GROUP BY 1"
    answers = rows(connection, sql)
    assert len(answers) == 97
    assert all(low == high for _, low, high in answers)
    assert sum(scored_times) == 97


def test_cursors_of_threads_have_their_own(
    connection: duckdb.DuckDBPyConnection, tiny_model: Path, tmp_path: Path
) -> None:
    options = {"model": tiny_model, "store": tmp_path / "s.duckdb", "weights": "fp32"}
    answers: list[list[tuple[Any, ...]]] = []

    def ask() -> None:
        with duckdb.connect() as own, fb.register(own, **options):  # type: ignore[arg-type]
            answers.append(rows(own, "SELECT p_positive('Sales rose'), p_positive('Sales fell')"))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    assert answers[0] == answers[1] == answers[2]


def test_after_close_there_are_none(
    connection: duckdb.DuckDBPyConnection, register: Callable[..., Any]
) -> None:
    with register():
        assert rows(connection, "SELECT sentiment('Sales rose') IS NOT NULL") == [(True,)]
    for name in ("sentiment", "p_positive", "finsent_key", "finsent_probabilities"):
        with pytest.raises(duckdb.CatalogException, match=f"{name} does not exist"):
            connection.execute(f"SELECT {name}('Sales rose')")


def test_a_model_that_changed_is_told(
    connection: duckdb.DuckDBPyConnection,
    register: Callable[..., Any],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    register(model=model)
    assert rows(connection, "SELECT sentiment('Sales rose') IS NOT NULL") == [(True,)]
    settings = json.loads((model / "config.json").read_text())
    settings["layer_norm_eps"] = 1e-3
    (model / "config.json").write_text(json.dumps(settings))
    known = rows(connection, "SELECT sentiment('Sales rose') IS NOT NULL")
    assert known == [(True,)], "what was scored stands"
    with pytest.raises(duckdb.Error, match="changed since it was registered: register it again"):
        connection.execute("SELECT sentiment('Sales fell')")


def test_what_is_wrong_is_said_when_registering(
    connection: duckdb.DuckDBPyConnection, register: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match="connection must be a DuckDB connection, not str"):
        fb.register("news.duckdb")  # type: ignore[arg-type]
    with pytest.raises(fb.FinsentError, match="nowhere"):
        register(model=tmp_path / "nowhere")
    (tmp_path / "text.duckdb").write_text("not a database, but long enough to be taken for one")
    with pytest.raises(fb.FinsentError, match=r"text\.duckdb"):
        register(store=tmp_path / "text.duckdb")


def test_the_store_s_macros_join_any_table_to_its_scores(
    connection: duckdb.DuckDBPyConnection,
    headlines: pl.DataFrame,
    register: Callable[..., Any],
    tmp_path: Path,
) -> None:
    with register():
        labels = [row[0] for row in rows(connection, EVERYTHING)]
    connection.execute(f"ATTACH '{tmp_path / 's.duckdb'}' AS store (READ_ONLY)")
    joined = rows(
        connection,
        """SELECT any_value(sentiment) FROM news
        LEFT JOIN store.headline_scores ON headline_key = store.finsent_key(news.headline)
        GROUP BY i ORDER BY i""",
    )
    assert [row[0] for row in joined] == labels
    for text in headlines["headline"].drop_nulls().to_list():
        [(key, form)] = connection.execute(
            "SELECT store.finsent_key($1), store.finsent_normal_form($1)", [text]
        ).fetchall()
        [expected] = normalize([text])
        assert (form, key) == (expected, headline_key(text) if expected else None)


# ---- the index


def index_of(keys: list[int]) -> tuple[ScoreIndex, np.ndarray, np.ndarray]:
    high = np.array([key >> 64 for key in keys], np.uint64)
    low = np.array([key & (2**64 - 1) for key in keys], np.uint64)
    values = np.arange(3 * len(keys), dtype=np.float32).reshape(-1, 3)
    return ScoreIndex.of(high, low, values), high, low


KEYS = st.one_of(
    st.integers(0, 2**128 - 1),
    st.integers(0, 40),  # of one first half
    st.integers(2**128 - 40, 2**128 - 1),
    st.integers(0, 40).map(lambda n: n << 64),  # of one second half
)


@given(st.lists(KEYS, unique=True, max_size=60), st.data())
def test_every_key_is_found_and_no_other(keys: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(keys)))
    inside, outside = keys[:cut], keys[cut:]
    index, high, low = index_of(inside)
    at, found = index.find(high, low)
    assert found.all()
    assert (index.probabilities[at, 0] == np.arange(cut) * 3).all()
    other, high, low = index_of(outside)
    assert not index.find(high, low)[1].any()
    both = index.joined(other)
    at, found = both.find(high, low)
    assert len(both) == len(keys)
    assert found.all()
    assert (both.probabilities[at, 0] == np.arange(len(outside)) * 3).all()


def test_keys_of_sql_are_those_of_the_store() -> None:
    assert normalize([" a  b "]) == ["a b"]
    with duckdb.connect() as opened:
        from finsent_batch.headlines import key_halves_sql

        high, low = key_halves_sql("'a b'")
        [(first, last)] = opened.execute(f"SELECT {high}, {low}").fetchall()
    assert uuid.UUID(int=(first << 64) | last) == headline_key("a b")
