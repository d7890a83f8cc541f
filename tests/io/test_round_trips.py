"""Every value comes out as it went in, or the file is refused: random tables, dialects, formats."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finsent_batch.errors import BadDataError
from finsent_batch.io.columns import RowSchema
from finsent_batch.io.csv_reader import stage_csv
from finsent_batch.io.provenance import Provenance
from finsent_batch.io.text.jsonl import stage_jsonl
from finsent_batch.io.text.sink import TextSink
from finsent_batch.store.publications import Publication
from finsent_batch.store.published_tables import describe, relation_sql

from ..helpers.fuzzing import examples

drawn = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}
ENCODINGS = {"utf-8": None, "utf-16": None, "cp1252": "abc é€’\"\\,;|'\t", "latin-1": 'aé"\\,;'}

# ---- text files, at the readers


@st.composite
def tables(draw, alphabet=None, special=',;|\t"\\\n'):
    """Draw (delimiter, encoding, rows): a header of two to four names, then rows of text."""
    encoding = draw(st.sampled_from([e for e in ENCODINGS if alphabet is None or e == "utf-8"]))
    letters = alphabet or ENCODINGS[encoding]
    characters = (
        st.sampled_from(letters)
        if letters
        else st.characters(exclude_categories=("Cs",), exclude_characters="\x00\ufeff\r")
        | st.sampled_from(special)
    )
    columns = draw(st.integers(2, 4))
    text = st.text(characters, max_size=8)
    header = [f"c{i}" for i in range(columns)]
    rows = draw(st.lists(st.lists(text, min_size=columns, max_size=columns), max_size=12))
    return draw(st.sampled_from(",;\t|")), encoding, [header, *rows]


def written(rows, delimiter, line_end="\n", **dialect):
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=line_end, **dialect).writerows(rows)
    return stream.getvalue()


def staged(tmp_path, name, content, **options):
    """Return the cells of a text file as it is staged, or None where it is refused."""
    file = tmp_path / name
    file.write_bytes(content)
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    for left in work.iterdir():
        left.unlink()
    try:
        found = stage_csv(file, work, max_bad_rows=0, **{"encoding": "utf-8", **options})
    except BadDataError:
        return None
    table = pq.read_table(found.file)
    return [list(row.values()) for row in table.to_pylist()]


def expected(rows, *, quoted=True):
    """An empty field is NULL, unless it is quoted."""
    return [[cell if cell or quoted else None for cell in row] for row in rows[1:]]


@drawn
@given(
    tables(),
    st.sampled_from(sorted(PACK)),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_our_dialect_with_any_delimiter_encoding_and_compression(
    tmp_path, table, packed, line_end, mark
):
    delimiter, encoding, rows = table
    text = written(rows, delimiter, line_end, quoting=csv.QUOTE_ALL)
    text = "\ufeff" + text if mark and encoding == "utf-8" else text
    content = PACK[packed](text.encode(encoding))
    found = staged(tmp_path, f"x.csv{packed}", content, encoding=encoding)
    if found is None:  # a backslash before a quote may be meant to escape it
        assert '\\"' in text
        found = staged(tmp_path, f"x.csv{packed}", content, encoding=encoding, escape='"')
    assert found == expected(rows)


@drawn
@given(tables())
def test_backslash_escapes_are_read_when_named_and_never_half(tmp_path, table):
    delimiter, encoding, rows = table
    text = written(
        rows, delimiter, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\"
    ).encode(encoding)
    assert staged(tmp_path, "x.csv", text, encoding=encoding, escape="\\") == expected(rows)
    unnamed = staged(tmp_path, "x.csv", text, encoding=encoding)
    # Doubled backslashes are two of them in our dialect: only quotes tell the two apart.
    if any('"' in cell for row in rows[1:] for cell in row):
        assert unnamed is None


@drawn
@given(tables(alphabet="ab \"'\\é"))
def test_quotes_of_text_are_read_when_named_and_never_lost(tmp_path, table):
    delimiter, _, rows = table
    rows = [rows[0], *(["x", *row[1:]] for row in rows[1:])]  # no blank lines
    text = "".join(delimiter.join(row) + "\n" for row in rows).encode()
    assert staged(tmp_path, "x.csv", text, quote="none") == expected(rows, quoted=False)
    unnamed = staged(tmp_path, "x.csv", text)
    # What is well-formed in our dialect is read so, a `"` of two rows as a field of two lines
    # included: nothing says that it is meant otherwise.
    assert unnamed in (None, expected(rows, quoted=False)) or without_nulls(unnamed) == as_csv(
        text.decode(), delimiter
    )


def without_nulls(rows):
    return [[cell or "" for cell in row] for row in rows]


def as_csv(text, delimiter):
    return list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))[1:]


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
    st.lists(st.integers(), max_size=2),
)


@drawn
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "C d"]), values), min_size=1))
def test_json_lines_keep_every_value(tmp_path, objects):
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(map(json.dumps, objects)) + "\n", "utf-8")
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    for left in work.iterdir():
        left.unlink()
    if not any(objects):
        with pytest.raises(BadDataError, match="no JSON objects"):
            stage_jsonl(file, work, encoding="utf-8", max_bad_rows=0)
        return
    rows = pq.read_table(stage_jsonl(file, work, encoding="utf-8", max_bad_rows=0).file).to_pylist()
    for row, given_ in zip(rows, objects, strict=True):
        for name, cell in row.items():
            value = given_.get(name)
            if isinstance(cell, str) and not isinstance(value, str):
                cell = json.loads(cell)  # as it stands in the file
            assert cell == value


# ---- our own CSV outputs, as queries read them


SPECIAL = [
    '"',
    '""',
    "'",
    ",",
    "\n",
    "\r",
    "\r\n",
    "",
    "NULL",
    "\\",
    '\\"',
    "1e5",
    "0700",
    "#",
    " x ",
]
cells = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=10),
    st.sampled_from(SPECIAL),
)


@drawn
@given(
    st.lists(st.tuples(cells, cells), max_size=30),
    st.sampled_from([("a", "b"), ("x y", 'q"t'), ("a,b", "c\nd"), ("1", "'")]),
    st.sampled_from([0, 20_500]),
)
def test_what_is_published_as_csv_is_what_sql_reads(tmp_path, rows, names, plain):
    rows = [("plain", "text")] * plain + rows
    schema = pa.schema([(name, pa.string()) for name in names])
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(2)]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    file = tmp_path / "date=2001-01-01" / "o.csv"
    TextSink(file).write(RowSchema(schema), iter([batch]), Provenance(input="x"))
    with duckdb.connect(":memory:") as connection:
        table = describe(connection, Publication(path=str(file)))
        assert table.names == names
        relation = relation_sql(table.kind, [table.source], table.names)
        assert connection.execute(f"FROM {relation}").fetchall() == rows


# ---- every pair of formats, through the command

NASTY = [
    "Tarn, Lumen rise", 'say "hi"', "two\nlines", "tab\there", "semi;colon", "pipe|d", "\\",
    'a\\"b',
    "'quoted'", "0700", "1e5", "NULL", " blank ", "é€’“", "日本語", "a", "\u200bzero", "x" * 5_000,
]  # fmt: skip


def nasty_table(seed):
    """A table of every type that all formats hold, with the time of the news."""
    draw = random.Random(seed)
    rows = 60
    start = datetime(2014, 1, 6, tzinfo=UTC)
    return pl.DataFrame(
        {
            "headline": [draw.choice([*NASTY, None]) for _ in range(rows)],
            "ticker": [draw.choice([*NASTY, "", None]) for _ in range(rows)],
            "volume": [draw.choice([None, 0, 2**62, -(2**62)]) for _ in range(rows)],
            "price": [draw.choice([None, 0.1, -1e-300, 1e300, 3.0]) for _ in range(rows)],
            "published_at": [
                (start + timedelta(hours=i)).strftime("%Y-%m-%d %H:%M:%S") for i in range(rows)
            ],
        },
        schema_overrides={"volume": pl.Int64},
    )


def write_input(frame, name):
    if name.endswith(".parquet"):
        frame.write_parquet(name)
    elif name.endswith(".jsonl"):
        frame.write_ndjson(name)
    elif name.endswith(".duckdb"):
        with duckdb.connect(name) as connection:
            connection.register("frame", frame.to_arrow())
            connection.execute("CREATE TABLE t AS FROM frame")
    else:
        separator = {"n.tsv": "\t", "n.csv": ";"}[name]
        frame.write_csv(name, separator=separator, quote_style="necessary")


def read_output(name):
    with duckdb.connect(":memory:") as connection:
        if name.endswith(".duckdb"):
            connection.execute(f"ATTACH '{name}' AS o (READ_ONLY)")
            return pl.from_arrow(connection.sql("FROM o.t_out").to_arrow_table())
        if name.endswith(".parquet"):
            return pl.read_parquet(name)
        table = describe(connection, Publication(path=name))
        relation = relation_sql("csv", [name], table.names)
        return pl.from_arrow(connection.sql(f"FROM {relation}").to_arrow_table())


def same(found, given_):
    """Whether two cells are the same value, where a format may have made text of it."""
    if found is None or given_ is None:
        return found is given_
    if isinstance(found, str) and not isinstance(given_, str):
        return Decimal(found) == Decimal(repr(given_))
    return found == given_


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "duckdb"])
@pytest.mark.parametrize("output", ["o.parquet", "o.csv", "o.duckdb"])
def test_every_cell_of_every_pair_of_formats(score, run, suffix, output):
    frame = nasty_table(f"{suffix}{output}")
    write_input(frame, f"n.{suffix}")
    options = ("--table", "t") if suffix == "duckdb" else ()
    options += ("--escape", '"') if suffix in ("csv", "tsv") else ()
    options += ("--output-table", "t_out") if output == "o.duckdb" else ()
    score(f"n.{suffix}", "-o", output, *options)
    found = read_output(output)
    assert found.columns[: frame.width] == frame.columns
    for column in frame.columns:
        for cell, original in zip(found[column], frame[column], strict=True):
            assert same(cell, original), (column, cell, original)
    days = run("query", "daily_sentiment", "--format", "json").json
    labelled = sum(bool(text and text.strip()) for text in frame["headline"])
    assert sum(day["headlines"] for day in days) == labelled
    assert {day["day"] for day in days} <= {"2014-01-06", "2014-01-07", "2014-01-08"}
