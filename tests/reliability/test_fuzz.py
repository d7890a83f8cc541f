"""Whatever readers, the normal form and the command line are given: an answer or one line."""

import csv
import io
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finsent_batch.errors import FinsentError
from finsent_batch.headlines import headline_key, normalize
from finsent_batch.io.base import text_batches
from finsent_batch.io.columns import choose_text_column
from finsent_batch.io.csv_reader import stage_csv
from finsent_batch.io.parquet import ParquetSource

from ..helpers.fuzzing import examples

CODES = {0, 2, 65, 66, 69, 73, 74, 75, 78}
same_folder = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# ---- readers

pieces = st.sampled_from(
    [b",", b'"', b"\n", b"\r\n", b"\r", b"a", "é".encode(), b"\xff", b"\x00", b" ", b";", b"\t",
     b"|", b"\xef\xbb\xbf", b"\xff\xfe", b"headline", b"'", b'""', b"\\", b"\x1a", b"\x85"]
)  # fmt: skip
encodings = st.sampled_from(
    ["utf-8", "latin-1", "cp1252", "utf-16", "utf-8-sig", "shift_jis", "utf-7", "punycode", "hex"]
)


@same_folder
@given(
    st.sampled_from([b"", b"headline,n\n"]),
    st.lists(pieces | st.binary(max_size=4), max_size=30).map(b"".join),
    encodings,
)
def test_csv_of_any_bytes_is_read_or_refused(tmp_path, head, body, encoding):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    for left in work.iterdir():
        left.unlink()
    (tmp_path / "x.csv").write_bytes(head + body)
    try:
        staged = stage_csv(tmp_path / "x.csv", work, encoding=encoding, max_bad_rows=1000)
    except FinsentError:
        return
    table = pq.read_table(staged.file)
    table.validate(full=True)
    assert all(kind == pa.string() for kind in table.schema.types)


fields = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=8)


@same_folder
@given(st.lists(st.tuples(fields, fields), max_size=8))
def test_csv_that_python_wrote_comes_back_as_it_was(tmp_path, rows):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([("headline", "n"), *rows])
    (tmp_path / "x.csv").write_text(text.getvalue(), "utf-8", newline="")
    staged = stage_csv(tmp_path / "x.csv", work, encoding="utf-8", max_bad_rows=0)
    table = pq.read_table(staged.file)
    assert list(zip(*(column.to_pylist() for column in table.columns), strict=True)) == rows


@pytest.fixture(scope="module")
def parquet():
    """The bytes of a small file with columns of several kinds."""
    table = pa.table(
        {
            "headline": ["Oil falls", "é ü", "x" * 50, None] * 5,
            "tags": [[1, 2], None] * 10,
            "desk": [{"a": "b"}] * 20,
            "kind": pa.array(["a", "b"] * 10).dictionary_encode(),
        }
    )
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="none")
    return stream.getvalue()


changes = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 100), st.binary(max_size=20)),
    min_size=1,
    max_size=3,
)


@same_folder
@given(changes)
def test_parquet_with_any_bytes_changed_is_read_or_refused(tmp_path, parquet, changes):
    for at, cut, new in changes:
        place = at % len(parquet)
        parquet = parquet[:place] + new + parquet[place + cut :]
        parquet = parquet or b"-"
    (tmp_path / "x.parquet").write_bytes(parquet)
    try:
        source = ParquetSource(tmp_path / "x.parquet")
        for batch in source.batches():
            assert batch.num_columns == len(source.schema.names)
        for text, undecodable in text_batches(source, choose_text_column(source.schema, None, "x")):
            text.validate(full=True)
            assert len(text) == len(undecodable)
    except FinsentError:
        pass


def test_columns_of_different_length_are_damage_not_lost_rows(
    run, feed, tmp_path, tiny_model, monkeypatch
):
    whole = ParquetSource.batches

    def short(self, columns=None):
        for batch in whole(self, columns):
            yield batch if columns else batch.slice(0, batch.num_rows - 1)

    monkeypatch.setattr(ParquetSource, "batches", short)
    done = run("score", "feed.parquet", "--model", tiny_model, "--weights", "fp32")
    assert done.code == 65
    assert "12 rows of its headline column and 11 of all columns" in done.err
    assert not (tmp_path / "feed.scored.parquet").exists()


# ---- the normal form

anything = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(anything, min_size=1, max_size=10))
def test_a_normal_form_is_one_line_and_its_own_normal_form(batch):
    forms = normalize(batch)
    assert normalize(forms) == forms
    for form in forms:
        assert form == " ".join(form.split())
        assert not any(unicodedata.category(c) == "Cc" for c in form)
        assert len(form.splitlines()) <= 1


@settings(max_examples=examples(40), deadline=None)
@given(anything, st.sampled_from([" ", "\t", "\n", "\u2003", "\x00", "\u200e", "\ufeff"]))
def test_noise_around_a_headline_leaves_its_key(text, noise):
    assert headline_key(noise + text + noise) == headline_key(text)


# ---- the command line

values = st.one_of(
    st.sampled_from(["", "0", "-1", "1e9", "nan", "auto", "json", "news.csv", "folder", "x.duckdb",
                     "news.csv::t", "*", "[", "a=b", "=", "--", "-", "label_mix"]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=6),
)  # fmt: skip
options = st.sampled_from(
    ["-o", "--output", "--table", "--output-table", "--text-column", "--append", "--limit",
     "--overwrite", "--replace-columns", "--max-bad-rows", "--encoding", "--summary", "--device",
     "--commit-seconds", "--metrics-file", "--weights", "--dry-run", "--param", "--from",
     "--format", "--keep-runs", "--no-such-option", "-h"]
)  # fmt: skip
commands = st.sampled_from(
    [("score",), ("query",), ("store", "verify"), ("store", "compact"), ("store", "export"),
     ("store", "import"), ("runs",), ("config", "show"), ("prepare",), ("evaluate",)]
)  # fmt: skip
top = st.lists(
    st.sampled_from(["-v", "-q", "--log-format=json", "--log-format=x", "--memory-limit=x",
                     "--memory-limit=1GB", "--store=folder", "--store=", "--config=news.csv"]),
    max_size=2,
)  # fmt: skip


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(top, commands, st.lists(options | values, max_size=6))
def test_any_arguments_give_a_documented_exit_code(run, tmp_path, before, command, after):
    (tmp_path / "folder").mkdir(exist_ok=True)
    (tmp_path / "news.csv").write_text("headline\nOil falls\n")
    # No model is loaded: what a command line means is settled before.
    model = ["--model=no-such-model"] if command[0] in ("score", "evaluate") else []
    done = run(*before, *command, *model, *after)
    assert done.code in CODES, done
    assert "Traceback" not in done.err
    assert done.code == 0 or len(done.err.strip().splitlines()) == 1, done.err
