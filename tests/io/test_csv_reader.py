"""CSV in all the shapes it comes in: every value kept as text, every doubt refused with a line."""

import gzip

import pyarrow.parquet as pq
import pytest

from finsent_batch.errors import BadDataError, MissingInputError, UsageError
from finsent_batch.io.csv_reader import stage_csv


@pytest.fixture
def stage(tmp_path):
    """Write bytes to a file and stage it: gives the columns and the rows set aside."""

    def call(content, *, encoding="utf-8", max_bad_rows=0, name="in.csv"):
        file = tmp_path / name
        file.write_bytes(content)
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        staged = stage_csv(file, work, encoding=encoding, max_bad_rows=max_bad_rows)
        return pq.read_table(staged.file).to_pydict(), staged.bad_rows

    return call


def columns(stage, content, **options):
    return stage(content, **options)[0]


def test_values_stay_the_text_they_are(stage):
    content = b"ticker,day,n\n0700,2024-01-02,1e3\n7203,02/01/24,NA\n"
    found = columns(stage, content)
    assert found == {
        "ticker": ["0700", "7203"],
        "day": ["2024-01-02", "02/01/24"],
        "n": ["1e3", "NA"],
    }


def test_an_empty_field_is_null_and_a_quoted_empty_one_is_empty_text(stage):
    assert columns(stage, b'a,b\n,""\n"",\n') == {"a": [None, ""], "b": ["", None]}


def test_in_a_file_of_one_column_a_blank_line_is_a_null_row(stage):
    assert columns(stage, b'headline\nx\n\n""\ny\n') == {"headline": ["x", None, "", "y"]}


def test_blank_lines_between_rows_are_no_rows(stage):
    assert columns(stage, b"a,b\n1,2\n\n\r\n3,4\n\n") == {"a": ["1", "3"], "b": ["2", "4"]}


@pytest.mark.parametrize("start", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("header", [b"headline", b"headline,id"])
def test_blank_lines_before_the_header_are_skipped(stage, start, header):
    row = b",".join([b"x"] * (header.count(b",") + 1))
    assert columns(stage, start + header + b"\n" + row + b"\n")["headline"] == ["x"]


@pytest.mark.parametrize(
    "content", [b"headline", b"headline\n", b"id,headline", b"id,headline\r\n"]
)
def test_a_header_alone_is_a_file_of_no_rows(stage, content):
    assert columns(stage, content)["headline"] == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_with_and_without_one_after_the_last_row(stage, end):
    for tail in ("", end):
        text = end.join(["a,b", "1,2", '"x' + end + 'y",4']) + tail
        assert columns(stage, text.encode()) == {"a": ["1", "x" + end + "y"], "b": ["2", "4"]}


def test_mixed_line_ends(stage):
    assert columns(stage, b"a,b\r\n1,2\r3,4\n5,6\r\n")["b"] == ["2", "4", "6"]


def test_a_nul_is_kept(stage):
    assert columns(stage, b"a,b\n1,x\0y\n")["b"] == ["x\0y"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_in_the_header(stage, delimiter):
    text = delimiter.join(["id", "headline"]) + "\n" + delimiter.join(["1", '"a,b;c\td|e"']) + "\n"
    assert columns(stage, text.encode()) == {"id": ["1"], "headline": ["a,b;c\td|e"]}


def test_delimiters_within_quoted_names_do_not_count(stage):
    assert columns(stage, b'"a,b,c";d\n1;2\n') == {"a,b,c": ["1"], "d": ["2"]}
    assert columns(stage, b'"a\n,,x";d\n1;2\n') == {"a\n,,x": ["1"], "d": ["2"]}


def test_a_header_longer_than_a_block_is_read_whole(stage):
    names = [f"column_{i}" for i in range(9_000)]
    content = f"{','.join(names)}\n{','.join('1' * 9_000)}\n".encode()
    assert list(columns(stage, content)) == names


def test_a_row_of_ten_megabytes(stage):
    found = columns(stage, b"a,b\n1," + b"x" * 10_000_000 + b'\n2,"' + b"y\n" * 5_000_000 + b'"\n')
    assert [len(value) for value in found["b"]] == [10_000_000, 10_000_000]


@pytest.mark.parametrize(
    ("content", "name"), [(b"a,b,a\n1,2,3\n", "'a'"), (b"id,headline,ID\n1,2,3\n", "'ID'")]
)
def test_a_column_name_that_comes_twice_is_refused(stage, content, name):
    with pytest.raises(BadDataError, match=f"has the column {name} more than once"):
        stage(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: it needs a header line"),
        (gzip.compress(b"", mtime=0), "is empty: it needs a header line"),
        (b"\xef\xbb\xbf", "is empty: it needs a header line"),
        (b"\n\r\n\n", "is empty: it needs a header line"),
        (b" ,\t\n1,2\n", "has no header line"),
    ],
)
def test_a_file_without_a_header_is_refused(stage, content, said):
    name = "in.csv.gz" if content[:2] == b"\x1f\x8b" else "in.csv"
    with pytest.raises(BadDataError, match=said):
        stage(content, name=name)


def test_a_missing_file_is_missing_and_not_bad(tmp_path):
    with pytest.raises(MissingInputError, match="does not exist"):
        stage_csv(tmp_path / "none.csv", tmp_path, encoding="utf-8", max_bad_rows=0)


def test_gzip_members_one_after_the_other_are_one_file(stage):
    content = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n")
    assert columns(stage, content, name="in.csv.gz") == {"a": ["1", "3"], "b": ["2", "4"]}


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"a,b\n" + b"1,2\n" * 9_000)[:-9],
        gzip.compress(b"a,b\n" + b"1,2\n" * 9_000)[:40],
        b"a,b\n1,2\n",
        gzip.compress(b"a,b\n1,2\n") + b"rubbish",
    ],
    ids=["end cut off", "beginning only", "plain text", "rubbish after it"],
)
def test_broken_gzip_is_refused(stage, content):
    with pytest.raises(BadDataError, match="is not whole gzip data"):
        stage(content, name="in.csv.gz")


@pytest.mark.parametrize("encoding", ["no-such", "hex", "rot13", "undefined", ""])
def test_an_encoding_that_is_none_is_a_usage_error(stage, encoding):
    with pytest.raises(UsageError, match=f"unknown encoding '{encoding}'"):
        stage(b"a,b\n1,2\n", encoding=encoding)
