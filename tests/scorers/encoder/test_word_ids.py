"""Ids from a text's words are those that the tokenizer gives the whole text."""

import string

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from finsent_batch.models.directory import open_model
from finsent_batch.scorers.encoder import word_ids
from finsent_batch.scorers.encoder.plain_tokens import plain_tokenizer

from ...helpers.fuzzing import examples


@pytest.fixture(scope="module")
def backend():
    found = plain_tokenizer(open_model("mini").tokenizer)
    found.enable_truncation(20)
    return found


def assert_same(backend, texts):
    got, want = word_ids.WordIds(backend).encode(texts), word_ids.encoded_by(backend, texts)
    for name in ("ids", "sizes", "truncated"):
        assert np.array_equal(getattr(got, name), getattr(want, name)), name


ODD = [
    "[SEP]", "x[MASK]y", "[ SEP ]", "\u03a3\u0391\u03a3", "e\u0301", "\u0301", "\ud55c\uad6d",
    "\u682a\u4fa1", "a\u00a0b", "\x1f", "\u2028", "\u0130", "\ufb01", "##s", "\u2019s", "%",
    "x" * 120, "up-" * 15, "\u200d", "\ud7a3" * 30,
]  # fmt: skip
ASCII = "".join(map(chr, range(33, 127)))
words = st.one_of(
    st.text(max_size=8), st.sampled_from(ODD), st.text("a\u00e9'.,-[]# \u0300", max_size=9),
    st.text(ASCII, max_size=12), st.text(string.ascii_letters, max_size=14),
)  # fmt: skip


@given(texts=st.lists(st.lists(words, max_size=9).map(" ".join), max_size=4))
@example(texts=["", " ", "  up  ", "x" * 3000, "up " * 18, "up " * 19, "up-" * 10 + " " + "x" * 99])
@settings(max_examples=examples(150))
def test_they_are_those_of_the_whole_text(backend, texts):
    assert_same(backend, texts)


def test_case_that_a_tokenizer_keeps(backend):
    cased = Tokenizer.from_str(backend.to_str())
    cased.normalizer = BertNormalizer(lowercase=False)
    assert_same(cased, ["Oil's UP 4.5%: OPEC", "oil's up", "Crédit", "x" * 100 + "Y " + "x" * 101])


def test_words_are_forgotten_when_there_are_too_many(backend, monkeypatch):
    monkeypatch.setattr(word_ids, "_MOST_CHARACTERS", 12)
    encoder = word_ids.WordIds(backend)
    # Begun anew with the third, whose words are too many to be kept at all.
    texts = {"oil rises": 2, "gold falls": 4, "oil rises again today": 0, "oil falls": 2}
    for text, kept in texts.items():
        assert encoder.encode([text]).ids.tolist() == backend.encode(text).ids
        assert len(encoder._known) == kept


def test_real_headlines(backend, data):
    feed = pl.read_parquet(data / "feeds" / "reuters_2013.parquet", columns=["headline"])
    assert_same(backend, feed["headline"].head(4000).to_list())
