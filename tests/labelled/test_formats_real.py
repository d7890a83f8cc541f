"""Labelled files as they are published, read in place."""

import ast
import csv
from collections import Counter

import polars as pl
import pytest

from finsent_batch.config import LabelledFormat
from finsent_batch.errors import BadDataError
from finsent_batch.labelled.formats import read_labelled

TFNS_LABELS = (("0", "negative"), ("1", "positive"), ("2", "neutral"))


def counts(frame):
    return dict(Counter(frame["label"]))


@pytest.mark.parametrize(
    ("name", "expected"), [("AllAgree", 2264), ("75Agree", 3453), ("66Agree", 4217)]
)
def test_real_phrasebank_files(data, name, expected):
    frame = read_labelled(data / "phrasebank" / f"Sentences_{name}.txt")
    assert frame.height == expected
    assert frame["headline"].str.len_chars().min() > 0


def test_real_phrasebank_and_its_kaggle_copy_have_the_same_labels(data):
    text = read_labelled(data / "phrasebank" / "Sentences_50Agree.txt")
    kaggle = read_labelled(data / "phrasebank" / "all-data.csv")
    assert counts(text) == counts(kaggle) == {"neutral": 2879, "positive": 1363, "negative": 604}
    assert kaggle["headline"].str.contains("\ufffd").any()
    assert not text["headline"].str.contains("\ufffd").any()


def test_real_sentfin(data):
    frame = read_labelled(data / "sentfin" / "SEntFiN.csv")
    assert counts(frame) == {"neutral": 3446, "positive": 3363, "negative": 2711}


def sentiments_of(decisions):
    """The sentiments of a SEntFiN dict as Python reads it; None where Python cannot."""
    try:
        return set(ast.literal_eval(decisions).values())
    except SyntaxError:
        return None


def test_real_sentfin_agrees_with_python_wherever_python_can_read_the_dict(data):
    file = data / "sentfin" / "SEntFiN.csv"
    with file.open(encoding="utf-8", newline="") as stream:
        source = [(r["Title"], sentiments_of(r["Decisions"])) for r in csv.DictReader(stream)]
    assert 0 < sum(s is None for _, s in source) < 100
    expected = Counter((title, *s) for title, s in source if s is not None and len(s) == 1)
    found = Counter(read_labelled(file).iter_rows())
    assert expected <= found
    assert {title for title, _ in found - expected} <= {t for t, s in source if s is None}


def test_real_tfns_needs_a_label_map(data):
    file = data / "tfns" / "train.csv"
    with pytest.raises(
        BadDataError, match=r"'0' \([\d,]+ rows\), '1' \([\d,]+ rows\), '2' \([\d,]+ rows\)"
    ):
        read_labelled(file)
    frame = read_labelled(file, LabelledFormat(label_map=TFNS_LABELS))
    raw = pl.read_csv(file)
    assert frame.height == raw.height == 9543
    assert frame["headline"].to_list() == raw["text"].to_list()
    expected = raw["label"].replace_strict({0: "negative", 1: "positive", 2: "neutral"})
    assert frame["label"].to_list() == expected.to_list()
