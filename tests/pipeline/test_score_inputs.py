"""`score` with several inputs, of several kinds, and the formats that it writes."""

import gzip
import json
from pathlib import Path

import duckdb
import polars as pl
import pytest

from finsent_batch.io.result_columns import RESULT_SCHEMA

ADDED = RESULT_SCHEMA.names


@pytest.fixture
def feeds(headlines, tmp_path):
    """A folder with three inputs of three kinds, and a DuckDB file with a fourth."""
    folder = tmp_path / "feeds"
    folder.mkdir()
    flat = headlines.drop("tags")
    flat.write_parquet(folder / "a.parquet")
    flat.head(3).write_csv(folder / "b.csv")
    flat.tail(2).write_ndjson(folder / "c.jsonl")
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        connection.execute("CREATE TABLE news AS FROM flat")
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


# ---- several inputs


def test_each_of_several_inputs_gets_its_own_output_beside_it(score, feeds, tmp_path):
    given = ("feeds/a.parquet", "feeds/b.csv", "d.duckdb", "--table", "news")
    summary = score(*given)
    assert summary["rows"]["read"] == 12 + 3 + 12
    assert summary["input"] == "feeds/a.parquet feeds/b.csv d.duckdb"
    assert summary["files"]["read"] == 3
    there = [*names_in(feeds), "d.duckdb"]
    assert {"a.scored.parquet", "b.scored.parquet"} <= set(there)
    with duckdb.connect(str(tmp_path / "d.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM news_scored").fetchone() == (12,)
    assert pl.read_parquet(feeds / "b.scored.parquet").height == 3


def test_what_a_shell_makes_of_a_pattern_can_be_run_again(score, feeds):
    def expanded():
        return sorted(f"feeds/{f.name}" for f in feeds.iterdir())

    first = score(*expanded())
    assert len(expanded()) == 6  # the outputs stand beside the inputs now
    again = score(*expanded())
    assert again["outputs"] == first["outputs"]
    assert again["rows"]["unique_scored"] == 0
    assert len(expanded()) == 6


def test_several_inputs_go_to_a_folder_that_need_not_be_there(score, run, feeds, tmp_path):
    score("feeds/b.csv", "feeds", "-o", "labelled", "--output-format", "csv")
    # feeds/b.csv was named twice
    assert names_in(tmp_path / "labelled") == ["a.scored.csv", "b.scored.csv", "c.scored.csv"]
    done = run("score", "feeds/a.parquet", "feeds/b.csv", "-o", "one.parquet")
    assert done.code == 2
    assert "the inputs are several: name a folder with -o, not one.parquet" in done.err


def test_a_pattern_that_matches_one_file_goes_to_a_folder_too(score, feeds, tmp_path):
    for _ in range(2):
        for folder in ("labelled/", "labelled.2014-01-06/"):
            summary = score("feeds/b.csv", "-o", folder)
            assert names_in(tmp_path / folder) == ["b.scored.parquet"]
    assert summary["rows"]["unique_scored"] == 0


def test_several_inputs_share_a_table(score, feeds, tmp_path):
    to = ("-o", "news.duckdb", "--output-table", "headlines", "--append")
    for _ in range(2):
        score("feeds/b.csv", "feeds/b2.csv" if (feeds / "b2.csv").exists() else "feeds/b.csv", *to)
        (feeds / "b2.csv").write_bytes((feeds / "b.csv").read_bytes())
    with duckdb.connect(str(tmp_path / "news.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "SELECT parse_filename(input_file), count(*) FROM headlines GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert found == [("b.csv", 3), ("b2.csv", 3)]


def test_a_table_is_one_in_whatever_case_it_is_named(score, run, feeds):
    score("d.duckdb", "--table", "NEWS", "-o", "d.parquet")
    to = ("-o", "all.duckdb", "--append", "--output-table")
    score("feeds/a.parquet", *to, "Headlines")
    score("feeds/c.jsonl", *to, "headlines")
    counted = "SELECT input_table, output_table FROM run_files ORDER BY number"
    assert run("query", "--sql", counted, "--format", "csv").out.splitlines()[1:] == [
        "news,", ",Headlines", ",Headlines",
    ]  # fmt: skip
    query = ("query", "--sql", "SELECT count(*) AS n FROM scored_headlines", "--format", "csv")
    assert run(*query, "--from", "all.duckdb::HEADLINES").out.split() == ["n", "14"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("feeds/b.csv", "feeds/x.csv"), 66, "feeds/x.csv does not exist"),
        (("feeds/b.csv", "feeds/x.txt"), 2, "unknown suffix '.txt'"),
        (("feeds/b.csv", ""), 2, "the input's name is empty"),
        (("feeds/b.csv", "feeds/c.jsonl", "--table", "t"), 2, "none of the inputs is one"),
        (("feeds/b.csv", "--table", "t"), 2, "feeds/b.csv is one table by itself"),
        (("feeds/b.csv", "d.duckdb"), 2, "name a table with --table; it has: news"),
        (("feeds/a.parquet", "feeds/a.csv", "-o", "out"), 2, "would both be written to out/a."),
        (("a.scored.parquet", "b.scored.csv"), 66, "are outputs of earlier runs"),
        (("feeds/b.csv", "-"), 2, "-: name an output with -o"),
        (("-", "-", "-o", "out"), 2, "name it once"),
        (("feeds/b.csv", "--input-name", "x"), 2, "--input-name is the name of standard input"),
    ],
)
def test_inputs_that_cannot_be_meant(run, feeds, arguments, code, said):
    (feeds / "a.csv").write_text("headline\nOil falls\n")
    done = run("score", *arguments)
    assert (done.code, done.err.count("\n")) == (code, 1)
    assert said in done.err


def test_a_format_can_be_named_where_the_suffix_does_not(score, run, feeds):
    (feeds / "b.csv").rename(feeds / "b.txt")
    assert score("feeds/b.txt", "--input-format", "csv")["rows"]["read"] == 3
    assert (feeds / "b.scored.parquet").exists()
    done = run("score", "feeds/b.txt", "--input-format", "csv", "-o", "x.csv",
               "--output-format", "tsv")  # fmt: skip
    assert done.code == 2
    assert "x.csv is csv by its suffix, --output-format says tsv: leave one out" in done.err


def test_an_empty_file_among_others_has_no_rows(score, run, tmp_path, tiny_model):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("headline\nOil falls\n")
    for name, content in (
        ("b.csv", ""),
        ("c.tsv.gz", ""),
        ("d.jsonl", "\n \r\n"),
        ("e.csv", "\ufeff\n"),
    ):
        (folder / name).write_text(content)
    done = score("in")
    assert done["files"] == {"read": 1, "left_out": 0, "unchanged": 0, "empty": 4}
    assert [f.name for f in (tmp_path / "in.scored").iterdir()] == ["a.scored.parquet"]
    [warning] = done["warnings"]
    assert warning.startswith("4 empty files taken as without rows, with no output: in/b")
    done = score("in", "--skip-unchanged")
    assert done["files"] == {"read": 0, "left_out": 0, "unchanged": 1, "empty": 4}

    def refused(*inputs):
        done = run("score", *inputs, "--model", tiny_model, "--weights", "fp32")
        assert (done.code, done.out, done.err.count("\n")) == (65, "", 1)
        return done.err

    assert "in/b.csv is empty: it needs a header line at least" in refused("in/b.csv")
    assert "is empty: it needs one JSON object" in refused("in/b.csv", "in/d.jsonl", "-o", "out")
    # What had rows and is published is not quietly without any.
    (folder / "f.csv").write_text("headline\nSales rise\n")
    score("in")
    (folder / "f.csv").write_text("")
    assert "in/f.csv is empty" in (advice := refused("in"))
    assert advice.endswith("or run finsent-batch store forget in/f.csv\n")
    assert run("store", "forget", "in/f.csv").code == 0
    assert score("in")["files"]["empty"] == 5
    (folder / "g.parquet").write_bytes(b"")  # of which the end was not written
    assert "g.parquet" in refused("in")


# ---- output formats


@pytest.mark.parametrize(
    "suffix", ["tsv", "tsv.gz", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "jsonl.zst", "ndjson"]
)
def test_text_outputs_hold_the_same_rows_and_can_be_queried(score, run, feeds, tmp_path, suffix):
    score("feeds/a.parquet", "-o", "plain.csv")
    plain = run("query", "label_mix", "--from", "plain.csv").out
    file = tmp_path / f"o.{suffix}"
    score("feeds/a.parquet", "-o", file)
    score("feeds/a.parquet", "-o", file)  # what it made itself it may replace
    if "tsv" in suffix or "csv" in suffix:
        separator = "\t" if "tsv" in suffix else ","
        found = pl.read_csv(file, separator=separator)
    elif suffix.endswith("zst"):
        found = duckdb.sql(f"FROM '{file}'").pl()
    else:
        content = file.read_bytes()
        text = gzip.decompress(content) if suffix.endswith("gz") else content
        found = pl.DataFrame([json.loads(line) for line in text.splitlines()])
    assert found.columns == pl.read_csv(tmp_path / "plain.csv").columns
    assert found["id"].to_list() == list(range(12))
    assert found["headline"].to_list()[2] is None
    assert run("query", "label_mix", "--from", file).out == plain
    done = run("query", "label_mix")  # what was published last
    assert done.out == plain, done.err
    assert run("query", "most_positive", "--format", "csv").code == 0
    # An output can be an input, with the types that it had.
    assert score(file, "-o", "twice.parquet", "--replace-columns")["rows"]["read"] == 12


def test_json_lines_come_out_as_they_came_in(score, tmp_path):
    rows = [
        {"headline": "Oil falls", "tags": ["a", {"b": 1}], "n": 1, "big": 2**70, "f": 0.1,
         "no": None},
        {"headline": "Bank cuts jobs", "tags": [], "n": None, "big": 7, "f": 2.5, "no": None},
        {"headline": None, "tags": None, "n": 3, "big": None, "f": None, "no": None},
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "n.jsonl").write_text(text)
    score("n.jsonl", "-o", "o.jsonl")
    found = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [{key: row[key] for key in rows[0]} for row in found] == rows
    assert list(found[0]) == [*rows[0], *ADDED]
    assert found[0]["p_positive"] == round(found[0]["p_positive"], 9)  # a FLOAT's own digits


def test_json_has_no_number_that_is_none(score, tmp_path):
    pl.DataFrame({"headline": ["Oil falls"] * 2, "x": [float("nan"), float("inf")]}).write_parquet(
        tmp_path / "n.parquet"
    )
    score("n.parquet", "-o", "o.jsonl")
    assert [json.loads(row, parse_constant=pytest.fail)["x"]
            for row in (tmp_path / "o.jsonl").read_text().splitlines()] == [None, None]  # fmt: skip


def test_an_input_without_rows_gives_json_without_lines_that_can_be_read(score, run, tmp_path):
    (tmp_path / "n.csv").write_text("headline,published_at\n")
    score("n.csv", "-o", "o.jsonl", "--gate", "rows>=0")
    assert (tmp_path / "o.jsonl").read_bytes() == b""
    assert run("query", "daily_sentiment").code == 0


def test_a_column_without_a_name_fits_plain_csv_alone(run, tiny_model, tmp_path):
    (tmp_path / "n.csv").write_text(",headline\n1,Oil falls\n")
    options = ("--model", tiny_model, "--weights", "fp32")
    assert run("score", "n.csv", "-o", "o.tsv", *options).code == 0
    assert (tmp_path / "o.tsv").read_text().startswith('""\theadline\t')
    for output in ("o.csv.gz", "o.jsonl"):
        done = run("score", "n.csv", "-o", output, *options)
        assert done.code == 73
        assert "a column without a name" in done.err


def test_other_suffixes_are_refused_with_those_there_are(run, feeds):
    done = run("score", "feeds/b.csv", "-o", "o.csv.xz")
    assert done.code == 2
    assert "outputs are .parquet, .csv, .duckdb; also .tsv, .jsonl; text also with .gz" in done.err
