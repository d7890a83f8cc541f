"""CSV files whose bytes or rows are doubtful: encodings, ragged rows, quotes."""

import csv
import io
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finsent_batch.errors import BadDataError
from finsent_batch.io.csv_reader import stage_csv

from ..helpers.fuzzing import examples


@pytest.fixture
def stage(tmp_path):
    """Write bytes to a file and stage it: gives the columns and the rows set aside."""

    def call(content, *, encoding="utf-8", max_bad_rows=0):
        file = tmp_path / "in.csv"
        file.write_bytes(content)
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        staged = stage_csv(file, work, encoding=encoding, max_bad_rows=max_bad_rows)
        return pq.read_table(staged.file).to_pydict(), staged.bad_rows

    return call


def test_a_byte_order_mark_is_no_part_of_the_first_name(stage):
    assert stage(b'\xef\xbb\xbf"a","b"\n1,2\n')[0] == {"a": ["1"], "b": ["2"]}
    assert stage(b"\xef\xbb\xbfa,b\n1,2\n", encoding="utf-8-sig")[0] == {"a": ["1"], "b": ["2"]}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("first", ["sep={}", '"sep={}"', "SEP={}", "\ufeffsep={}"])
@pytest.mark.parametrize("mark", [";", "\t", "|", ",", ":"])
def test_excels_first_line_names_the_delimiter_and_is_no_row(stage, first, mark, end):
    rows = [["a", "b"], ["1", "x, y; z" if mark not in ",;" else "x y z"], ["2", ""]]
    content = end.join([first.format(mark), *(mark.join(row) for row in rows), ""])
    assert stage(content.encode())[0] == {"a": ["1", "2"], "b": [rows[1][1], None]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_and_32(stage, encoding):
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    content = f"{mark}a,b\n1,\u20ac \U0001f4c8\n".encode(encoding)
    assert stage(content, encoding=encoding)[0] == {"a": ["1"], "b": ["\u20ac \U0001f4c8"]}


def test_latin_1_keeps_every_byte(stage):
    upper = bytes(range(0x80, 0x100))
    found, _ = stage(b"a,b\n1," + upper + b"\n2," + upper[::-1] + b"\n", encoding="latin-1")
    assert [value.encode("latin-1") for value in found["b"]] == [upper, upper[::-1]]


def test_what_is_not_utf_8_names_the_line_and_the_option(stage):
    with pytest.raises(BadDataError) as caught:
        stage(b"a,b\n1,fine\n2,caf\xe9\n")
    assert caught.value.exit_code == 65
    assert "is not utf-8 (line 3)" in str(caught.value)
    assert "--encoding latin-1" in str(caught.value)


def test_the_line_of_a_wrong_byte_far_into_the_file(stage):
    with pytest.raises(BadDataError, match=r"is not utf-8 \(line 400002\)"):
        stage(b"a,b\n" + b"1,2\n" * 400_000 + b"1,\xff\n")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "utf-8"),
        ("a,b\n1,2\n".encode("utf-16") + b"x", "utf-16"),
        (b"a,b\n1,\x81\n", "cp1252"),
        (b"a,b\n1,\xc3", "utf-8"),
    ],
)
def test_bytes_that_the_encoding_does_not_know(stage, content, encoding):
    with pytest.raises(BadDataError, match=f"is not {encoding} "):
        stage(content, encoding=encoding)


def test_half_characters_are_refused_not_replaced(stage):
    with pytest.raises(BadDataError, match="lone surrogates"):
        stage(b"a,b\n1,+2AA-\n", encoding="utf-7")


def test_ragged_rows_have_the_lines_an_editor_shows(stage):
    content = b'a,b\n1,"x\ny"\n\n2\n3,4,5\r\n\r\n"6\r\n7",8\r\n9\r\n10,11\n'
    found, bad = stage(content, max_bad_rows=3)
    assert found == {"a": ["1", "6\r\n7", "10"], "b": ["x\ny", "8", "11"]}
    assert [(row.line, row.fields, row.expected) for row in bad] == [
        (5, 1, 2),
        (6, 3, 2),
        (10, 1, 2),
    ]
    assert [row.text.strip() for row in bad] == ["2", "3,4,5", "9"]


def test_ragged_rows_between_bare_carriage_returns(stage):
    found, bad = stage(b"a,b\r1,2\r3\r\r4,5,6\r7,8\r", max_bad_rows=2)
    assert found == {"a": ["1", "7"], "b": ["2", "8"]}
    assert [row.line for row in bad] == [3, 5]


def test_a_line_of_spaces_is_a_ragged_row(stage):
    assert [row.line for row in stage(b"a,b\n1,2\n  \n", max_bad_rows=1)[1]] == [3]


def test_more_bad_rows_than_allowed_stop_with_the_first_line_and_the_count(stage):
    content = b"a,b\n1,2\n3\n4,5\n6,7,8\n"
    with pytest.raises(BadDataError) as caught:
        stage(content, max_bad_rows=1)
    said = str(caught.value)
    assert "line 3: 1 fields instead of 2 (2 such rows)" in said
    assert "--max-bad-rows 2" in said
    assert stage(content, max_bad_rows=2)[0] == {"a": ["1", "4"], "b": ["2", "5"]}


def test_a_file_of_nothing_but_bad_rows_is_empty(stage):
    found, bad = stage(b"a,b\n1\n2\n", max_bad_rows=2)
    assert (found, len(bad)) == ({"a": [], "b": []}, 2)


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n0,0\n1,"x\n2,y\n3,z\n',
        b'a,b\n0,0\n1,"cut off',
        b'a,b\n0,0\n"1,x\n2,y\n',
        b'a,b\n0,0\n1,"x\n2,"y"\n3,z\n',
        b'a,b\n0,0\n1,"x\n2,"y\n3,z\n',
        b'a,b\n0,0\n1,"x\r2,y\r',
    ],
    ids=["to the end", "cut off", "first field", "odd", "even", "carriage returns"],
)
def test_a_quote_that_is_not_closed_swallows_no_rows(stage, content):
    with pytest.raises(BadDataError, match="line 3: a quote is opened and not closed"):
        stage(content, max_bad_rows=9)


def test_a_quote_not_closed_in_the_header(stage):
    with pytest.raises(BadDataError, match="line 1: a quote is opened and not closed"):
        stage(b'a,"b\n1,2\n')


def test_quotes_within_a_line_are_taken_as_they_are(stage):
    found, _ = stage(b'a,b\n1,5" disk\n2,"say ""hi"""\n3,"x\ny"\n4,4" and 5"\n')
    assert found["b"] == ['5" disk', 'say "hi"', "x\ny", '4" and 5"']


values = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@settings(max_examples=examples(80), deadline=None)
@given(
    rows=st.lists(st.tuples(values, values, values), max_size=6),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_csv_writer_writes_comes_back(rows, end, delimiter, encoding):
    text = io.StringIO(newline="")
    quoted = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    quoted.writerows([("a", "b", "c"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "in.csv"
        file.write_bytes(text.getvalue().encode(encoding))
        work = Path(folder) / "work"
        work.mkdir()
        staged = stage_csv(file, work, encoding=encoding, max_bad_rows=0)
        assert [tuple(row.values()) for row in pq.read_table(staged.file).to_pylist()] == rows
