"""Splits: the tutorial's row by row, and clean ones without leakage."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finsent_batch.errors import BadDataError
from finsent_batch.labelled.duplicates import check_leakage, duplicate_key
from finsent_batch.labelled.formats import read_labelled
from finsent_batch.labelled.splits import clean_split, tutorial_split
from finsent_batch.labels import LABELS

from ..helpers.fuzzing import examples

PARTS = ("train", "valid", "test")


def labelled(*rows):
    return pl.DataFrame(rows, schema={"headline": pl.String, "label": pl.String}, orient="row")


def numbered(rows, label):
    return [(f"{label} headline number {i}", label) for i in range(rows)]


def split(frame, excluded=(), *, valid_size=0.2, test_size=0.25, seed=1):
    return clean_split(frame, set(excluded), valid_size=valid_size, test_size=test_size, seed=seed)


# ---- the tutorial's split


@pytest.fixture(scope="module")
def tutorial(data):
    """The tutorial's own lines, in pandas: train and test as lists of (text, sentiment)."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    frame = pd.read_csv(
        data / "phrasebank" / "all-data.csv",
        names=["sentiment", "text"],
        encoding="utf-8",
        encoding_errors="replace",
    )
    train, test = [], []
    for sentiment in ("positive", "neutral", "negative"):
        some_train, some_test = train_test_split(
            frame[frame.sentiment == sentiment], train_size=300, test_size=300, random_state=42
        )
        train.append(some_train)
        test.append(some_test)
    shuffled = pd.concat(train).sample(frac=1, random_state=10)
    parts = {"train": shuffled, "test": pd.concat(test)}
    return {name: list(zip(part.text, part.sentiment, strict=True)) for name, part in parts.items()}


@pytest.fixture(scope="module")
def ours(data):
    return tutorial_split(read_labelled(data / "phrasebank" / "all-data.csv"))[0]


@pytest.mark.parametrize("part", ["train", "test"])
def test_tutorial_split_is_the_tutorial_s_row_by_row(tutorial, ours, part):
    assert ours[part].rows() == tutorial[part]


def test_tutorial_split_has_300_test_rows_a_class(ours):
    for part in ("train", "test"):
        assert ours[part].height == 900
        assert ours[part]["label"].value_counts()["count"].to_list() == [300] * 3


def test_tutorial_split_takes_no_row_twice(data, ours):
    source = read_labelled(data / "phrasebank" / "all-data.csv").with_row_index("row")
    available = source.group_by("headline", "label").len("there")
    used = pl.concat(ours.values()).group_by("headline", "label").len("used")
    joined = used.join(available, on=["headline", "label"], how="left")
    assert joined.filter(pl.col("used") > pl.col("there").fill_null(0)).is_empty()


def test_tutorial_validation_is_drawn_without_replacement_from_what_is_left(ours):
    counts = dict(ours["valid"]["label"].value_counts().iter_rows())
    assert counts == {"positive": 50, "neutral": 50, "negative": 4}


def test_tutorial_split_by_row_number_is_disjoint():
    frame = labelled(*(row for label in LABELS for row in numbered(640, label)))
    parts, _ = tutorial_split(frame)
    rows = [set(parts[name]["headline"]) for name in PARTS]
    assert [len(r) for r in rows] == [900, 120, 900]
    assert len(rows[0] | rows[1] | rows[2]) == 1920


def test_tutorial_split_needs_600_rows_a_class():
    frame = labelled(
        *numbered(600, "positive"), *numbered(599, "neutral"), *numbered(600, "negative")
    )
    with pytest.raises(BadDataError, match="needs 600 neutral rows; there are 599"):
        tutorial_split(frame)


def test_prepare_with_the_tutorial_s_recipe_writes_that_split(run, data, tutorial, tmp_path):
    file = data / "phrasebank" / "all-data.csv"
    done = run("prepare", file, "-o", "a", "--recipe", "tutorial")
    assert done.code == 0, done.err
    for part in ("train", "test"):
        assert pl.read_parquet(tmp_path / "a" / f"{part}.parquet").rows() == tutorial[part]
    report = json.loads((tmp_path / "a" / "split.json").read_text())
    assert report["rows"] == {"train": 900, "valid": 104, "test": 900}
    assert report["labels"]["test"] == {"negative": 300, "neutral": 300, "positive": 300}


# ---- the clean split

# Few words and many ways to write them, so that copies and conflicts are frequent.
noisy_headlines = st.builds(
    lambda words, joint, end: joint.join(words) + end,
    st.lists(st.sampled_from(["oil", "Oil", "falls", "7", "caf\u00e9", "cafe\u0301"]), max_size=3),
    st.sampled_from([" ", "  ", "-", "\u00a0"]),
    st.sampled_from(["", ".", " !", "\u200e", "\x00"]),
)
noise = st.lists(st.tuples(noisy_headlines, st.sampled_from(LABELS)), max_size=40)
SOUND = [row for label in LABELS for row in numbered(9, label)]


@given(noise, st.sets(st.integers(0, 26)), st.integers(0, 5))
@settings(max_examples=examples(60))
def test_clean_split_never_leaks(noise, left_out, seed):
    frame = labelled(*SOUND, *noise).sample(fraction=1, shuffle=True, seed=seed)
    excluded = {duplicate_key(SOUND[i][0]) for i in left_out if i % 9 < 4} | {"oil"}
    parts, notes = split(frame, excluded, seed=seed)
    keys = [duplicate_key(h) for part in parts.values() for h in part["headline"]]
    assert len(keys) == len(set(keys))
    assert not set(keys) & excluded
    assert "" not in keys
    check_leakage([(name, parts[name]) for name in PARTS])
    assert len(keys) + sum(notes["removed"].values()) == frame.height


def test_clean_split_removes_conflicting_labels_altogether():
    frame = labelled(*SOUND, ("Oil falls", "negative"), ("oil falls .", "neutral"))
    parts, notes = split(frame)
    assert "oilfalls" not in {duplicate_key(h) for p in parts.values() for h in p["headline"]}
    assert notes["removed"] == {
        "blank": 0, "conflicting_labels": 2, "duplicates": 0, "excluded": 0,
    }  # fmt: skip


def test_clean_split_counts_what_it_removes():
    copies = [("Oil falls", "negative"), ("Oil  falls!", "negative"), (" \t", "neutral")]
    _, notes = split(labelled(*SOUND, *copies), {duplicate_key(SOUND[0][0])})
    assert notes["removed"] == {
        "blank": 1, "conflicting_labels": 0, "duplicates": 1, "excluded": 1,
    }  # fmt: skip


def test_clean_split_keeps_headlines_of_other_scripts_apart():
    other = [("\u0420\u043e\u0441\u0442", "positive"), ("\u0421\u043f\u0430\u0434", "negative")]
    parts, notes = split(labelled(*SOUND, *other))
    headlines = {h for p in parts.values() for h in p["headline"]}
    assert {h for h, _ in other} <= headlines
    assert notes["removed"]["blank"] == 0


def test_clean_split_writes_headlines_in_normal_form():
    parts, _ = split(labelled(*SOUND, ("Oil\u00a0 falls\x00 ", "negative")))
    headlines = {h for p in parts.values() for h in p["headline"]}
    assert "Oil falls" in headlines


def test_clean_split_is_stratified():
    frame = labelled(
        *numbered(200, "negative"), *numbered(600, "neutral"), *numbered(200, "positive")
    )
    parts, _ = split(frame, valid_size=0.05, test_size=0.1)
    for name, expected in (("train", 850), ("valid", 50), ("test", 100)):
        counts = dict(parts[name]["label"].value_counts().iter_rows())
        assert parts[name].height == pytest.approx(expected, abs=1)
        for label, share in (("negative", 0.2), ("neutral", 0.6), ("positive", 0.2)):
            assert counts[label] == pytest.approx(share * expected, abs=1)


def test_clean_split_is_decided_by_its_seed():
    frame = labelled(*SOUND)
    one, again, other = (split(frame, seed=seed)[0] for seed in (7, 7, 8))
    for name in PARTS:
        assert one[name].equals(again[name])
    assert not one["test"].equals(other["test"])


def test_clean_split_of_real_data(data):
    frame = read_labelled(data / "phrasebank" / "Sentences_50Agree.txt")
    kaggle = read_labelled(data / "phrasebank" / "all-data.csv")
    parts, notes = split(pl.concat([frame, kaggle]), valid_size=0.05, test_size=0.1)
    check_leakage(list(parts.items()))
    # The Kaggle file is a copy of the other: of 9692 rows about half are duplicates.
    assert sum(p.height for p in parts.values()) == pytest.approx(4838, abs=10)
    assert notes["removed"]["conflicting_labels"] >= 8
    whole = frame["label"].value_counts(normalize=True)
    shares = dict(whole.iter_rows())
    for part in parts.values():
        for label, share in part["label"].value_counts(normalize=True).iter_rows():
            assert share == pytest.approx(shares[label], abs=0.01)


def test_clean_split_without_a_label():
    with pytest.raises(BadDataError, match="no positive rows are left"):
        split(labelled(*numbered(9, "negative"), *numbered(9, "neutral")))


def test_clean_split_of_too_few_rows():
    frame = labelled(*numbered(20, "negative"), *numbered(20, "neutral"), *numbered(1, "positive"))
    with pytest.raises(BadDataError, match="too few rows to split"):
        split(frame)
