"""The sentences that `mini-open` is trained on."""

import csv
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from finsent_batch.config import LabelledFormat
from finsent_batch.labelled.formats import read_labelled
from finsent_batch.labelled.near_duplicates import HeldOut
from finsent_batch.labels import LABELS
from finsent_batch.models.mini_open.figures import Figures
from finsent_batch.models.mini_open.sentences import Grammar, write_sentences

MANY = dict.fromkeys(LABELS, 1500)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    file = tmp_path_factory.mktemp("sentences") / "sentences.csv"
    write_sentences(file, MANY)
    with file.open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines)
    assert head == ["text", "label"]
    return [(text, label) for text, label in rows]


def test_each_label_has_its_number_of_different_sentences(rows: list[tuple[str, str]]) -> None:
    assert Counter(label for _, label in rows) == MANY
    assert len({text for text, _ in rows}) == len(rows)


def test_no_slot_is_left_open(rows: list[tuple[str, str]]) -> None:
    assert [text for text, _ in rows if re.search(r"[\[\]{}|]|\s,|  |^\W*$", text)] == []
    assert all(3 <= len(text.split()) <= 60 for text, _ in rows)


def test_the_same_seed_gives_the_same_sentences_and_another_others() -> None:
    grammar = Grammar()
    first, again, other = (list(grammar.sentences("neutral", 50, seed=s)) for s in (3, 3, 4))
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize("larger_first", [True, False])
def test_the_figure_that_a_label_says_is_larger_is(larger_first: bool) -> None:
    for seed in range(50):
        figures = Figures(random.Random(seed), larger_first=larger_first)
        for kind in ("", "p", "e", "c"):
            now, then = (
                float(re.search(r"\d[\d.]*", figures.draw(kind + name).replace(",", ""))[0])
                for name in "ab"
            )
            assert (now > then) == larger_first, (seed, kind)
            assert now != then


def test_a_loss_is_good_news_where_it_narrows(rows: list[tuple[str, str]]) -> None:
    narrowed = {label for text, label in rows if "loss narrowed" in text}
    widened = {label for text, label in rows if "loss widened" in text}
    assert (narrowed, widened) == ({"positive"}, {"negative"})


def test_no_sentence_is_one_of_phrasebank_or_nearly(
    rows: list[tuple[str, str]], data: Path
) -> None:
    frame = read_labelled(data / "phrasebank" / "all-data.csv", LabelledFormat())
    known = HeldOut(frame["headline"])
    assert known.near(frame["headline"][0])
    assert [text for text, _ in rows if known.near(text)] == []
