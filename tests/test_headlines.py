"""The normal form and the key of a headline, against an oracle in plain Python."""

import hashlib
import re
import unicodedata
from uuid import UUID

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from finsent_batch import headlines
from finsent_batch.headlines import headline_key, normalize, normalize_sql, unusual

from .helpers.fuzzing import examples

BIDI_CLASSES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
BIDI_MARKS = "\u061c\u200e\u200f"
BYTE_ORDER_MARK = "\ufeff"

# Assigned characters only: Python and DuckDB may know different versions of Unicode.
characters = st.characters(exclude_categories=("Cs", "Cn", "Co"))
noise = st.text(alphabet="\t\n\r \x00\x07\x1b\x1f\x85\xa0\u2003\u2028\u200e\u202e\u2066\ufeff")
# RE2 writes `\x{2ff}` for what Python writes `\u02ff`.
LETTERS = re.sub(r"\\x\{(\w+)\}", lambda found: chr(int(found[1], 16)), headlines._LETTERS)
letters = [c for c in map(chr, range(0x110000)) if re.match(f"[{LETTERS}]", c)]
texts = st.one_of(
    st.text(characters),
    st.text(st.sampled_from([*letters, " "])),
    st.lists(st.sampled_from(["Ø", "e", "\u0301", "한", "ᆨ", "か", "\u3099", " ", "’"])).map(
        "".join
    ),
    st.lists(st.one_of(st.text(characters, max_size=5), noise), max_size=8).map("".join),
)


def is_removed(char: str) -> bool:
    control = unicodedata.category(char) == "Cc" and not char.isspace()
    bidi = unicodedata.bidirectional(char) in BIDI_CLASSES or char in BIDI_MARKS
    return control or bidi or char == BYTE_ORDER_MARK


def oracle(text: str) -> str:
    kept = "".join(char for char in text if not is_removed(char))
    return unicodedata.normalize("NFC", " ".join(kept.split()))


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(texts, min_size=1, max_size=20))
def test_the_normal_form_agrees_with_the_oracle(batch: list[str]) -> None:
    assert normalize(batch) == [oracle(text) for text in batch]


def test_every_assigned_character_agrees_with_the_oracle() -> None:
    assigned = [c for c in map(chr, range(0x110000)) if unicodedata.category(c)[0] != "C"]
    assigned += [c for c in map(chr, range(0x110000)) if unicodedata.category(c) in ("Cc", "Cf")]
    batch = [f"a{c}\u0301b {c} c" for c in assigned]
    wrong = [
        f"U+{ord(c):04X}"
        for c, text, form in zip(assigned, batch, normalize(batch), strict=True)
        if form != oracle(text)
    ]
    assert wrong == []


def test_letters_are_in_normal_form_whatever_stands_before_them() -> None:
    pairs = [unicodedata.decomposition(chr(code)).split() for code in range(0x110000)]
    second = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and pair[0][0] != "<"}
    second |= {chr(code) for code in range(0x1161, 0x1200)}  # vowels and ends of Hangul syllables
    assert len(letters) > 30_000
    assert not second & {*letters}
    assert [c for c in letters if oracle(c) != c or unicodedata.combining(c)] == []


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(texts, min_size=1, max_size=20))
def test_normalizing_twice_changes_nothing_more(batch: list[str]) -> None:
    once = normalize(batch)
    assert normalize(once) == once


@settings(max_examples=examples(30), deadline=None)
@given(st.text(characters, max_size=20), st.text(characters, max_size=20), noise)
def test_keys_are_equal_exactly_when_normal_forms_are(left: str, right: str, between: str) -> None:
    forms = normalize([left, f"{between}{left}{between}", right])
    keys = [headline_key(text) for text in (left, f"{between}{left}{between}", right)]
    for i in range(3):
        for j in range(3):
            assert (keys[i] == keys[j]) == (forms[i] == forms[j])


@settings(max_examples=examples(40), deadline=None)
@given(texts)
def test_the_key_is_the_first_128_bits_of_sha256(text: str) -> None:
    digest = hashlib.sha256(oracle(text).encode()).digest()
    assert headline_key(text) == UUID(bytes=digest[:16])


def test_no_text_has_an_empty_normal_form() -> None:
    assert normalize([None, "", " \t\n", "\u00a0\u3000", "\x00\u202e\ufeff"]) == [""] * 5
    assert normalize([]) == []


def test_white_space_controls_and_composition() -> None:
    assert normalize(["  Oil\r\n\tfalls\u00a05 % "]) == ["Oil falls 5 %"]
    assert normalize(["Oil\u202e falls\x00\u2069"]) == ["Oil falls"]
    assert normalize(["Nokia sa\u0308hko\u0308"]) == ["Nokia s\u00e4hk\u00f6"]
    # The control sits between a letter and its accent.
    assert normalize(["e\u200e\u0301"]) == ["\u00e9"]


def test_what_carries_meaning_stays() -> None:
    kept = ["\u200bzero width", "soft\u00adhyphen", "\U0001f4c8 up", "a\u200db", "\u0130x", "<[x]>"]
    assert normalize(kept) == kept


def test_order_and_length_of_a_batch_are_kept() -> None:
    batch = [f"{i}  " if i % 3 else None for i in range(5_000)]
    assert normalize(batch) == [str(i) if i % 3 else "" for i in range(5_000)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.none() | texts | st.text(" aZ~", max_size=4), max_size=20), st.integers(0, 3))
def test_a_look_at_all_texts_finds_what_the_regular_expression_does(batch, start):
    text = pa.array(batch, pa.large_string()).slice(start)
    given_rows = pa.table({"t": text, "unusual": unusual(text)})  # noqa: F841
    rows = duckdb.sql(
        f"""SELECT unusual OR contains(t, '  '), regexp_matches(t, '{headlines._NEEDS_WORK}'),
        {normalize_sql("t")}, {normalize_sql("t", "unusual")} FROM given_rows WHERE t IS NOT NULL"""
    ).fetchall()
    assert [row[0] for row in rows] == [row[1] for row in rows]
    assert [row[2] for row in rows] == [row[3] for row in rows]
