"""Whether a text repeats a held-out headline: against all pairs, one by one."""

import random

from finsent_batch.labelled.near_duplicates import THRESHOLD, HeldOut

HELD_OUT = (
    "Nokia's operating profit rose to EUR 13.1 mn from EUR 8.7 mn",
    "Oil falls",
    "The bank cuts 300 jobs in Finland and Sweden by the end of 2009",
)


def test_what_differs_in_spaces_case_and_punctuation_is_the_same() -> None:
    held_out = HeldOut(HELD_OUT)
    assert held_out.same("nokias operating profit rose to EUR 13.1 mn , from EUR 8.7 mn .")
    assert held_out.near("OIL  FALLS!")
    assert not held_out.near("Oil rises")


def test_a_prefix_or_a_changed_word_is_near() -> None:
    held_out = HeldOut(HELD_OUT)
    text = "The bank cuts 300 jobs in Finland and Norway by the end of 2009"
    assert not held_out.same(text)
    assert held_out.near(text)
    assert held_out.near("UPDATE 1- The bank cuts 300 jobs in Finland and Sweden by end of 2009")
    assert not held_out.near("The bank hires 20 people in Norway by the end of 2010")


def test_the_index_finds_what_comparing_every_pair_finds() -> None:
    draw = random.Random(0)
    words = [f"w{i}" for i in range(40)]
    held_out = [" ".join(draw.sample(words, draw.randint(4, 14))) for _ in range(300)]
    index = HeldOut(held_out)
    sets = [set(text.split()) for text in held_out]
    hits = 0
    for text in held_out:
        kept = [w if draw.random() > 0.12 else draw.choice(words) for w in text.split()]
        changed = set(kept)
        near = any(len(changed & s) >= THRESHOLD * len(changed | s) for s in sets)
        if len(changed) >= 4:
            assert index.near(" ".join(kept)) == near
            hits += near
    assert 50 < hits < 290


def test_nothing_held_out_is_near_nothing() -> None:
    assert not HeldOut([]).near("Oil falls")
    assert not HeldOut([""]).near("")
