"""Frames in and out of the Python API, and a model that stays loaded between them."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import finsent_batch as fb
from finsent_batch.errors import BadDataError, UsageError
from finsent_batch.io.result_columns import RESULT_SCHEMA


def frame_of(kind: str, headlines: pl.DataFrame) -> Any:
    """Return the headlines as a kind of frame; that of pandas with an index that repeats itself."""
    if kind != "pandas":
        return {"polars": headlines, "lazy": headlines.lazy(), "arrow": headlines.to_arrow()}[kind]
    pandas = pytest.importorskip("pandas")
    index = [f"row {i % 5}" for i in range(headlines.height)]
    return pandas.DataFrame(headlines.drop("tags").to_dict(as_series=False), index=index)


def names_of(frame: Any) -> list[str]:
    return frame.schema.names if isinstance(frame, pa.Table) else list(frame.columns)


@pytest.mark.parametrize("kind", ["polars", "lazy", "arrow", "pandas"])
def test_a_frame_comes_back_as_what_it_was(
    kind: str, headlines: pl.DataFrame, tiny_model: Path
) -> None:
    frame = frame_of(kind, headlines)
    scored = fb.score_frame(frame, model=tiny_model)
    assert type(scored) is type(frame)
    if kind == "pandas":
        assert scored[frame.columns].equals(frame)
        assert scored.index.equals(frame.index)
        whole = pl.DataFrame(pa.Table.from_pandas(scored, preserve_index=False))
    elif kind == "arrow":
        assert scored.select(frame.schema.names).equals(frame)
        whole = pl.DataFrame(scored)
    else:
        whole = scored.lazy().collect()
        assert_frame_equal(whole.select(headlines.columns), headlines)
    assert whole.columns[-9:] == RESULT_SCHEMA.names
    assert whole["score_status"].to_list().count("empty") == 2
    sums = whole.select(pl.sum_horizontal("p_negative", "p_neutral", "p_positive")).to_series()
    assert sums.filter(whole["score_status"] == "scored").to_list() == pytest.approx([1.0] * 10)


@pytest.mark.parametrize("kind", ["polars", "arrow", "pandas"])
def test_result_columns_are_replaced_where_that_is_asked_for(
    kind: str, headlines: pl.DataFrame, tiny_model: Path
) -> None:
    once = fb.score_frame(frame_of(kind, headlines), model=tiny_model)
    with pytest.raises(BadDataError, match="let it be replaced with replace_columns=True"):
        fb.score_frame(once, model=tiny_model)
    again = fb.score_frame(once, model=tiny_model, replace_columns=True)
    assert names_of(again) == names_of(once)


def test_types_that_arrow_does_not_keep_stay(tiny_model: Path) -> None:
    frame = pl.DataFrame({"headline": ["Oil falls", "Oil rises"], "source": ["a", "b"]})
    frame = frame.with_columns(pl.col("source").cast(pl.Enum(["a", "b", "c"])))
    scored = fb.score_frame(frame, model=tiny_model)
    assert_frame_equal(scored.select("headline", "source"), frame)


def test_an_empty_frame_gets_the_columns(tiny_model: Path) -> None:
    empty = pl.DataFrame({"headline": pl.Series([], dtype=pl.String)})
    scored = fb.score_frame(empty, model=tiny_model)
    assert scored.height == 0
    assert scored.columns == ["headline", *RESULT_SCHEMA.names]


def test_a_column_of_polars_that_arrow_has_no_type_for_is_bad_data(tiny_model: Path) -> None:
    frame = pl.DataFrame({"headline": ["Oil falls"], "n": pl.Series([1], dtype=pl.Int128)})
    with pytest.raises(fb.FinsentError, match="cannot be read as Arrow"):
        fb.score_frame(frame, model=tiny_model)


def test_a_column_of_pandas_that_mixes_types_is_named(tiny_model: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"headline": ["Oil falls", "Oil rises"], "mixed": [1, "one"]})
    with pytest.raises(BadDataError, match="mixed"):
        fb.score_frame(frame, model=tiny_model)


@pytest.mark.parametrize("frame", [None, "news.csv", {"headline": ["a"]}, [1]])
def test_what_is_no_frame_is_a_type_error(frame: Any, tiny_model: Path) -> None:
    with pytest.raises(TypeError, match="a frame is a DataFrame or LazyFrame of polars"):
        fb.score_frame(frame, model=tiny_model)


def test_a_frame_without_a_headline_column_is_refused(tiny_model: Path) -> None:
    frame = pl.DataFrame({"x": ["a"]})
    with pytest.raises(BadDataError, match="name one with text_column") as caught:
        fb.score_frame(frame, model=tiny_model)
    assert "--" not in str(caught.value)
    with pytest.raises(TypeError, match="text_column must be text or None, not int 3"):
        fb.score_frame(frame, model=tiny_model, text_column=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model must be text, not int 3"):
        fb.score_frame(frame, model=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="path must be text or a path, not int 3"):
        fb.score_frame(frame, store=3)  # type: ignore[arg-type]


def test_scores_are_kept_in_a_named_store(
    headlines: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "kept.duckdb"
    one = fb.score_frame(headlines, model=tiny_model, store=store)
    again = fb.score_frame(headlines.reverse(), model=str(tiny_model), store=str(store))
    assert again["run_id"].drop_nulls().unique().equals(one["run_id"].drop_nulls().unique())
    assert fb.query("run_history", store=store, limit=1)["unique_scored"].to_list() == [0]


# ---- a model kept between calls


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprints of the models that were loaded."""
    from finsent_batch.pipeline import score_stage

    loaded: list[str] = []
    load = score_stage.load_scorer

    def counted(model: Any, **options: Any) -> Any:
        loaded.append(model.fingerprint)
        return load(model, **options)

    monkeypatch.setattr(score_stage, "load_scorer", counted)
    return loaded


def test_a_scorer_loads_its_model_once(
    headlines: pl.DataFrame, tiny_model: Path, tmp_path: Path, loads: list[str]
) -> None:
    store = tmp_path / "s.duckdb"
    other = pl.DataFrame({"text": ["Bank beats", "Shares gain on oil deal"]})
    with fb.Scorer(tiny_model, store=store) as scorer:
        assert loads == []
        one = scorer.score_frame(headlines)
        # The store is free between the calls, also to be written to.
        fb.score_frame(other.head(1), model=tiny_model, store=store)
        two = scorer.score_frame(other)
        scorer.score_frame(headlines)
    assert len(loads) == 2  # one of them by score_frame
    assert len(set(loads)) == 1
    assert two["sentiment"].null_count() == 0
    assert fb.query("run_history", store=store, limit=9)["unique_scored"].to_list() == [0, 1, 1, 8]
    alone = fb.score_frame(headlines, model=tiny_model)
    assert_frame_equal(one.drop("run_id", "scored_at"), alone.drop("run_id", "scored_at"))


def test_a_scorer_without_a_store_keeps_scores_until_it_is_closed(
    headlines: pl.DataFrame, tiny_model: Path, loads: list[str]
) -> None:
    scorer = fb.Scorer(tiny_model)
    runs = {scorer.score_frame(headlines)["run_id"].drop_nulls()[0] for _ in range(2)}
    assert len(runs) == 1
    scratch = scorer._config.store.path.parent
    assert scratch.exists()
    scorer.close()
    scorer.close()
    assert not scratch.exists()
    with pytest.raises(UsageError, match="closed"):
        scorer.score_frame(headlines)
    assert len(loads) == 1


def test_a_scorer_takes_a_model_that_was_replaced(
    headlines: pl.DataFrame, tiny_model: Path, tmp_path: Path, loads: list[str]
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    with fb.Scorer(model, store=tmp_path / "s.duckdb") as scorer:
        scorer.score_frame(headlines)
        (model / "added_tokens.json").write_text("{}")
        scorer.score_frame(headlines)
    assert len(set(loads)) == len(loads) == 2


# ---- queries


@pytest.fixture
def store(headlines: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "s.duckdb"
    fb.score_frame(headlines, model=tiny_model, store=path)
    return path


def test_rows_come_as_the_frame_that_is_asked_for(store: Path) -> None:
    pandas = pytest.importorskip("pandas")
    kinds = {"polars": pl.DataFrame, "arrow": pa.Table, "pandas": pandas.DataFrame}
    for name, kind in kinds.items():
        how: dict[str, Any] = {"store": store, "frame": name}
        assert type(fb.query("run_history", limit=1, **how)) is kind
        rows = fb.query_sql("SELECT count(*) AS n FROM scores", **how)
        assert type(rows) is kind
        assert len(rows["n"]) == 1
    for frame in ("numpy", "", None, 3):
        for call in (fb.query, fb.query_sql):
            with pytest.raises(UsageError, match="frame is polars, arrow or pandas, not"):
                call("run_history", store=store, frame=frame)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda s: fb.query(3, store=s), "name must be text, not int"),
        (lambda s: fb.query_sql(None, store=s), "statement must be text, not NoneType"),
        (lambda s: fb.query("run_history", store=3), "StoreConfig: path must be text or a path"),
        (lambda s: fb.query("run_history", store=s, limit=[1]), "limit takes text, a number or a"),
        (lambda s: fb.query("run_history", store=s, published=3), "published must be text or a"),
    ],
)
def test_wrong_arguments_of_queries_are_type_errors(call: Any, reason: str, store: Path) -> None:
    with pytest.raises(TypeError, match=reason):
        call(store)
