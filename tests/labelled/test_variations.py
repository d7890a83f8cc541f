"""Variations of headlines: new, deterministic, like the headlines, near no held-out one."""

from finsent_batch.labelled.duplicates import duplicate_key
from finsent_batch.labelled.near_duplicates import HeldOut
from finsent_batch.labelled.variations import variations

HEADLINES = [
    "Operating profit rose to EUR 13.1 mn from EUR 8.7 mn in 2007",
    "The bank cuts 300 jobs in Finland, and closes two offices",
    "Nokia and Elcoteq sign a deal on mobile phones worth EUR 25 million",
]


def test_variations_are_new_and_the_same_for_a_seed() -> None:
    nothing = HeldOut([])
    one = list(variations(HEADLINES, 20, seed=1, held_out=nothing))
    assert one == list(variations(HEADLINES, 20, seed=1, held_out=nothing))
    assert one != list(variations(HEADLINES, 20, seed=2, held_out=nothing))
    keys = [duplicate_key(text) for text in one]
    assert len(set(keys)) == len(keys) > 50
    assert not set(keys) & {duplicate_key(text) for text in HEADLINES}
    words = {word for text in HEADLINES for word in text.lower().split()}
    own = [sum(word in words for word in text.lower().split()) / len(text.split()) for text in one]
    assert sum(own) / len(own) > 0.6


def test_years_stay_and_other_figures_change() -> None:
    text = " ".join(variations(HEADLINES[:1], 60, seed=0, held_out=HeldOut([])))
    assert "2007" in text
    assert any(f" {n}.{m}" in f" {text}" for n in range(14, 99) for m in range(10))


def test_no_variation_comes_near_a_held_out_headline() -> None:
    held_out = HeldOut(["The bank cuts 310 jobs in Finland and closes two offices"])
    found = list(variations(HEADLINES, 60, seed=0, held_out=held_out))
    assert found
    assert not any(held_out.near(text) for text in found)


def test_a_single_word_has_no_endless_variations() -> None:
    assert len(list(variations(["Oil"], 50, seed=0, held_out=HeldOut([])))) < 10


def test_a_text_goes_on_as_another_from_two_words_that_both_have() -> None:
    one = "Nokia said net sales rose to EUR 5 mn"
    other = "Elisa lost money as net sales fell in Norway"
    found = list(variations([one, other], 200, seed=0, held_out=HeldOut([])))
    assert "Nokia said net sales fell in Norway" in found
    # They share no other two words in a row.
    assert not any(text.startswith("Nokia lost money") for text in found)
