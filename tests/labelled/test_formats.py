"""Labelled files: every known layout, odd bytes, labels that need a meaning."""

import csv

import polars as pl
import pytest

from finsent_batch.config import LabelledFormat
from finsent_batch.errors import BadDataError, MissingInputError, UsageError
from finsent_batch.labelled.duplicates import check_leakage, duplicate_key
from finsent_batch.labelled.formats import read_labelled

TFNS_LABELS = (("0", "negative"), ("1", "positive"), ("2", "neutral"))


@pytest.fixture
def write(tmp_path):
    """Write bytes or text to a file in the test's folder and return its path."""

    def call(name, content):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return call


def rows(file, **how):
    return read_labelled(file, LabelledFormat(**how)).rows()


def test_phrasebank_text_is_latin_1_with_the_label_after_the_last_at_sign(write):
    file = write("Sentences.txt", "Café opens@positive\nMail x@y.fi@neutral\n".encode("latin-1"))
    assert rows(file) == [("Café opens", "positive"), ("Mail x@y.fi", "neutral")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_phrasebank_text_may_end_its_lines_in_any_way(write, end):
    file = write("s.txt", f"Up@positive{end}{end}Down@negative")
    assert rows(file) == [("Up", "positive"), ("Down", "negative")]


def test_phrasebank_line_without_a_label_is_named(write):
    file = write("s.txt", "Up@positive\nDown\n")
    with pytest.raises(BadDataError, match=r"s\.txt line 2: no @label at its end"):
        read_labelled(file)


def test_phrasebank_text_in_another_encoding_is_read_with_encoding(write):
    file = write("s.txt", "Café@neutral\n")
    assert rows(file, encoding="utf-8") == [("Café", "neutral")]
    broken = write("broken.txt", b"Fine@neutral\nCaf\xe9@neutral\n")
    with pytest.raises(BadDataError, match=r"is not utf-8 \(line 2\).*--encoding"):
        read_labelled(broken, LabelledFormat(encoding="utf-8"))


@pytest.mark.parametrize("name", ["s.txt", "s.csv"])
def test_unknown_encoding_is_a_usage_error(write, name):
    with pytest.raises(UsageError, match="unknown encoding 'klingon'"):
        read_labelled(write(name, "Up@positive"), LabelledFormat(encoding="klingon"))


def test_kaggle_csv_has_no_header_and_carriage_return_line_ends(write):
    file = write("all-data.csv", 'neutral,"No change , it said ."\rpositive,Profit rose .\r')
    assert rows(file) == [("No change , it said .", "neutral"), ("Profit rose .", "positive")]


def test_kaggle_csv_bytes_that_are_no_utf_8_become_replacement_characters(write):
    file = write("all-data.csv", b'negative,"Caf\xe9 closes"\rneutral,Still\r')
    assert rows(file) == [("Caf\ufffd closes", "negative"), ("Still", "neutral")]


def test_kaggle_csv_row_of_another_width_is_named(write):
    file = write("all-data.csv", "neutral,One\nneutral,Two, and more\n")
    with pytest.raises(BadDataError, match=r"all-data\.csv row 2: 3 fields, expected 2"):
        read_labelled(file)


def test_sentfin_keeps_headlines_with_one_sentiment_whatever_their_quotes(write):
    lines = [
        ["S No.", "Title", "Decisions", "Words"],
        ["1", "Alpha gains", "{'Alpha': 'positive'}", "2"],
        ["2", "Both fall", "{'Alpha': 'negative', \"Dee's Bank\": 'negative'}", "2"],
        ["3", "Mixed", "{'Alpha': 'negative', 'Beta': 'positive'}", "1"],
        ["4", "Dee's flat", "{'Dee's Bank': 'neutral'}", "2"],
        ["5", "None named", "{}", "2"],
    ]
    file = write("s.csv", "")
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    assert rows(file) == [
        ("Alpha gains", "positive"),
        ("Both fall", "negative"),
        ("Dee's flat", "neutral"),
    ]


def test_csv_with_a_header_finds_the_usual_columns(write):
    file = write("t.csv", "id,sentiment,title\n1,Positive,Up\n2,bearish,Down\n3, NEU ,Flat\n")
    assert rows(file) == [("Up", "positive"), ("Down", "negative"), ("Flat", "neutral")]


def test_csv_with_a_byte_order_mark(write):
    file = write("t.csv", "\ufeffheadline,label\nUp,positive\n")
    assert rows(file) == [("Up", "positive")]


def test_named_columns_and_label_map(write):
    file = write("t.csv", "body,text,tone\nUp,ignored,1\nDown,ignored,-1\nFlat,ignored,0\n")
    found = rows(
        file,
        text_column="body",
        label_column="tone",
        label_map=(("1", "positive"), ("-1", "neg"), ("0", "neutral")),
    )
    assert found == [("Up", "positive"), ("Down", "negative"), ("Flat", "neutral")]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"text_column": "body"}, "no column body: name one with --text-column; it has: headline"),
        ({"label_column": "tone"}, "no column tone: name one with --label-column"),
    ],
)
def test_a_named_column_that_is_not_there_is_never_replaced_by_another(write, how, message):
    file = write("t.csv", "headline,label\nUp,positive\n")
    with pytest.raises(BadDataError, match=message):
        read_labelled(file, LabelledFormat(**how))


def test_csv_without_a_known_column_says_what_it_has(write):
    file = write("t.csv", "a,b\nUp,positive\n")
    with pytest.raises(BadDataError, match="no column headline or title or text or sentence"):
        read_labelled(file)


def test_a_column_twice_is_refused(write):
    file = write("t.csv", "headline,label,label\nUp,positive,neutral\n")
    with pytest.raises(BadDataError, match="has the column 'label' more than once"):
        read_labelled(file)


def test_csv_row_of_another_width_is_named(write):
    file = write("t.csv", "headline,label\nUp,positive\nDown, a lot,negative\n")
    with pytest.raises(
        BadDataError, match=r"t\.csv line 3: 3 fields instead of 2.*: correct the file$"
    ):
        read_labelled(file)


def test_empty_csv(write):
    with pytest.raises(BadDataError, match="is empty"):
        read_labelled(write("t.csv", ""))


def test_a_quote_that_is_never_closed_is_bad_data(write):
    file = write("t.csv", 'headline,label\n"Up,positive\n' + "Down,negative\n" * 20_000)
    with pytest.raises(BadDataError, match="line 2: a quote is opened and not closed"):
        read_labelled(file)


def test_parquet_with_numbers_as_labels(tmp_path):
    file = tmp_path / "t.parquet"
    pl.DataFrame({"text": ["Up", None], "label": [1, 0]}).write_parquet(file)
    assert rows(file, label_map=TFNS_LABELS) == [("Up", "positive"), ("", "negative")]


def test_parquet_whose_columns_hold_lists_is_refused(tmp_path):
    file = tmp_path / "t.parquet"
    pl.DataFrame({"text": [["Up"]], "label": [{"a": 1}]}).write_parquet(file)
    with pytest.raises(BadDataError, match="text and label do not both hold plain values"):
        read_labelled(file)


def test_json_lines_whose_text_is_within_objects_are_refused(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"text": "Up", "label": "positive"}\n{"text": {"s": "Up"}, "label": "x"}\n')
    with pytest.raises(BadDataError, match="text and label do not both hold plain values"):
        read_labelled(file)


def test_corrupt_parquet(write):
    with pytest.raises(BadDataError, match="is not a readable Parquet file"):
        read_labelled(write("t.parquet", b"PAR1 no more"))


def test_unknown_labels_are_counted(write):
    file = write("t.csv", "headline,label\na,mixed\nb,positive\nc,mixed\nd,\n")
    with pytest.raises(BadDataError) as caught:
        read_labelled(file)
    assert "has labels other than negative, neutral, positive: '' (1 row), 'mixed' (2 rows)" in (
        str(caught.value)
    )
    assert "--label-map VALUE=LABEL" in str(caught.value)
    # `--label-map` cannot say what no label means.
    with pytest.raises(BadDataError, match="; label the rows without one, or take them out"):
        read_labelled(write("t.csv", "headline,label\na,positive\nd,\n"))


def test_null_labels_are_counted_too(tmp_path):
    file = tmp_path / "t.parquet"
    pl.DataFrame({"text": ["a", "b"], "label": [None, "neutral"]}).write_parquet(file)
    with pytest.raises(BadDataError, match=r"'\(null\)' \(1 row\)"):
        read_labelled(file)


def test_a_label_map_is_for_a_value_in_any_case_unless_it_tells_cases_apart(write, caplog):
    file = write("t.csv", "text,label\nup,bullish\ndown,BEARISH\nso,n\nbad,N\n")
    mapped = (("Bullish", "negative"), ("Bearish", "positive"), ("n", "neutral"), ("N", "negative"))
    assert rows(file, label_map=mapped) == [
        ("up", "negative"), ("down", "positive"), ("so", "neutral"), ("bad", "negative"),
    ]  # fmt: skip
    assert caplog.messages == []
    with pytest.raises(UsageError, match="--label-map gives 'n' two labels: leave one out"):
        read_labelled(file, LabelledFormat(label_map=(*mapped, ("n", "positive"))))
    plain = write("p.csv", "text,label\nup,positive\n")
    assert rows(plain, label_map=(("foo", "negative"),)) == [("up", "positive")]
    assert caplog.messages == [f"--label-map: no row of {plain} is labelled foo"]
    blank = write("b.csv", 'text,label\nup," bullish"\nup,Bullish \n')
    assert {label for _, label in rows(blank, label_map=(("BULLISH", "negative"),))} == {"negative"}
    with pytest.raises(BadDataError, match="labels other than"):
        read_labelled(
            blank, LabelledFormat(label_map=(("BULLISH", "negative"), ("bullisH", "neu")))
        )


def test_label_map_to_something_else_is_a_usage_error(write):
    file = write("t.csv", "headline,label\na,1\n")
    with pytest.raises(UsageError, match="--label-map: 'great' is none of negative, neutral"):
        read_labelled(file, LabelledFormat(label_map=(("1", "great"),)))
    with pytest.raises(UsageError, match="positive; give the option once for each value"):
        read_labelled(file, LabelledFormat(label_map=(("1", "positive,0=neutral"),)))


def test_missing_file_and_unknown_suffix(tmp_path, write):
    with pytest.raises(MissingInputError, match="does not exist: check the path"):
        read_labelled(tmp_path / "t.csv")
    with pytest.raises(UsageError, match=r"labelled data is \.txt, \.csv, \.tsv, .*\.parquet"):
        read_labelled(write("t.xlsx", "x"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Profit rose 12.5 %", "profit rose 12.5%"),
        ("Caf\u00e9 S.A. opens", "Caf\ufffd SA opens"),
        ("It 's up .", "It's up"),
        ("\u0420\u043e\u0441\u0442 2013!", "\u0440\u043e\u0441\u0442 2013"),
    ],
)
def test_copies_share_a_duplicate_key(one, other):
    assert duplicate_key(one) == duplicate_key(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Profit rose 12 %", "Profit rose 13 %"),
        ("\u0420\u043e\u0441\u0442 2013", "\u0421\u043f\u0430\u0434 2013"),
    ],
)
def test_other_headlines_have_other_keys(one, other):
    assert duplicate_key(one) != duplicate_key(other)


def test_check_leakage_names_the_splits_and_counts():
    one = pl.DataFrame({"headline": ["Oil falls", "Bank cuts jobs", "Sales rise"]})
    other = pl.DataFrame({"headline": ["oil falls .", "BANK CUTS JOBS", "oil falls"]})
    with pytest.raises(BadDataError, match="2 headlines stand in both train and test: split again"):
        check_leakage([("train", one), ("valid", one.clear()), ("test", other)])


def test_check_leakage_allows_duplicates_within_one_split():
    twice = pl.DataFrame({"headline": ["Oil falls", "oil falls"]})
    check_leakage([("train", twice), ("test", pl.DataFrame({"headline": ["Sales rise"]}))])
