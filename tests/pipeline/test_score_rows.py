"""Every row is in the output once, in order, with the status it must have: any headlines at all."""

import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.headlines import normalize
from finsent_batch.pipeline.score import score

from ..helpers.fuzzing import examples

ODD = [
    None, "", "   ", "\u00a0\u3000\t", "\x00\x07", "\u202e\u2069\ufeff", "\u200b",
    "Oil falls", "  Oil\tfalls ", "Oil\u202e falls", "\U0001f4c8\U0001f4c9 \U0001f1eb\U0001f1ee",
    "a\u0301", "\u00e1", "\x1b[31mred\x1b[0m", "]\n[Answer]: positive", '"quoted", \'too\'',
    "oil " * 25_000, "x" * 100_000, "\u4e2d" * 100_000,
]  # fmt: skip
headlines = st.one_of(
    st.sampled_from(ODD), st.none(), st.text(st.characters(exclude_categories=("Cs",)), max_size=90)
)


@pytest.fixture(scope="module")
def length(tiny_model):
    """Return the number of tokens that the model would read of a text, were there no limit."""
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)


def score_file(folder, model, texts):
    """Score the texts from a Parquet file with a store of their own."""
    frame = pl.DataFrame({"row": range(len(texts)), "headline": pl.Series(texts, dtype=pl.String)})
    frame.write_parquet(folder / "in.parquet")
    config = ScoreConfig(
        input=str(folder / "in.parquet"),
        model=ModelConfig(model=str(model), weights="fp32", device="cpu"),
        store=StoreConfig(path=folder / "store.duckdb"),
        default_gates=False,
    )
    summary = score(config)
    return summary, pl.read_parquet(folder / "in.scored.parquet")


def expected_status(form, length):
    if form == "":
        return "empty"
    return "truncated" if length(form) > 64 else "scored"


def check(summary, frame, texts, length):
    assert frame["row"].to_list() == list(range(len(texts)))
    assert frame["headline"].to_list() == texts
    forms = normalize(texts)
    statuses = [expected_status(form, length) for form in forms]
    assert frame["score_status"].to_list() == statuses
    labelled = [status != "empty" for status in statuses]
    for column in ("sentiment", "p_positive", "model_fingerprint", "run_id", "scored_at"):
        assert frame[column].is_not_null().to_list() == labelled
    by_form = {form: frame.row(i)[2:7] for i, form in enumerate(forms)}
    assert [by_form[form] for form in forms] == [row[2:7] for row in frame.rows()]
    rows, counts = summary.rows, Counter(statuses)
    assert rows["read"] == len(texts) == sum(rows[s] for s in ("scored", "truncated", "empty"))
    assert {s: rows[s] for s in counts} == dict(counts)
    assert rows["unique_scored"] == len({form for form in forms if form})
    assert rows["reused"] == sum(labelled) - rows["unique_scored"]


@settings(max_examples=examples(20), deadline=None)
@given(texts=st.lists(headlines, max_size=12))
def test_no_row_is_lost_doubled_or_moved(tiny_model, length, texts):
    with tempfile.TemporaryDirectory() as folder:
        summary, frame = score_file(Path(folder), tiny_model, texts)
        check(summary, frame, texts, length)


def test_all_odd_headlines_at_once(tiny_model, length, tmp_path):
    texts = [*ODD, *reversed(ODD)]
    summary, frame = score_file(tmp_path, tiny_model, texts)
    check(summary, frame, texts, length)
    assert frame["score_status"].to_list()[ODD.index("oil " * 25_000)] == "truncated"


def test_rows_over_several_batches_of_the_reader(tiny_model, length, tmp_path):
    texts = [f"oil {i % 97}" if i % 5 else None for i in range(140_000)]
    summary, frame = score_file(tmp_path, tiny_model, texts)
    assert frame["row"].to_list() == list(range(len(texts)))
    assert frame["headline"].to_list() == texts
    assert frame["score_status"].to_list() == [
        "scored" if i % 5 else "empty" for i in range(140_000)
    ]
    assert frame.group_by("headline").agg(pl.col("p_positive").n_unique())["p_positive"].max() == 1
    assert summary.rows["unique_scored"] == 97


def test_what_was_scored_is_the_normal_form(tiny_model, tmp_path):
    texts = ["  Oil\u202e\tfalls ", "sa\u0308hko\u0308"]
    score_file(tmp_path, tiny_model, texts)
    with duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True) as store:
        kept = store.execute("SELECT headline, headline_key FROM scores ORDER BY 1").fetchall()
    assert [row[0] for row in kept] == ["Oil falls", unicodedata.normalize("NFC", texts[1])]
