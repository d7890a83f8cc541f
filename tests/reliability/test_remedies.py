"""What `score` advises about text files that it refuses works when it is followed to the letter."""

import gzip
import json
import re
import sqlite3
import zipfile
from pathlib import Path

import polars as pl
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from ..helpers.remedies import HEADS, ROWS, TABLE, Refusal, follow, written

HEADER = "id,headline,source\n"
OTHERS = "2,Sales rise,B\n3,Net loss,C\n"
OBJECTS = [{"headline": h} for h in HEADS]
LINES = "".join(json.dumps(row) + "\n" for row in OBJECTS)
GZIP = gzip.compress(ROWS.encode())


def zipped():
    with zipfile.ZipFile("n.csv", "w") as archive:
        archive.writestr("inside.csv", ROWS)


def unpack():
    with zipfile.ZipFile("n.csv") as archive:
        archive.extractall("out")


def sqlite():
    with sqlite3.connect("n.csv") as connection:
        connection.execute("CREATE TABLE t (headline TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(h,) for h in HEADS])
    connection.close()


def export_sqlite():
    with sqlite3.connect("n.csv") as connection:
        rows = connection.execute("SELECT headline FROM t").fetchall()
    connection.close()
    written("t.csv", "headline\n" + "".join(f"{row[0]}\n" for row in rows))()


CORRECTED = written("n.csv", ROWS)
ENCODINGS = {
    name: Refusal(
        make=written("n.csv", ROWS, encoding),
        says="name its encoding, ",
        advice={f"--encoding {advised}": f"n.csv --encoding {advised}"},
    )
    for name, encoding, advised in (
        ("utf_16", "utf-16", "utf-16"),
        ("utf_32", "utf-32", "utf-32"),
        ("utf_16_without_a_mark", "utf-16-le", "utf-16-le"),
        ("utf_16_big_end_first", "utf-16-be", "utf-16-be"),
    )
} | {
    "latin_1": Refusal(
        make=written("n.csv", "headline\nZürich\n", "latin-1"),
        says="such as --encoding latin-1 or cp1252",
        advice={
            "--encoding latin-1": "n.csv --encoding latin-1",
            "or cp1252": "n.csv --encoding cp1252",
        },
        rows=1,
    ),
    "utf_16_of_json": Refusal(
        make=written("n.jsonl", LINES, "utf-16"),
        command="n.jsonl",
        says="name its encoding, ",
        advice={"--encoding utf-16": "n.jsonl --encoding utf-16"},
    ),
    "none_of_that_name": Refusal(
        make=written("n.csv", ROWS),
        command="n.csv --encoding utf-9",
        says=": try utf-8, latin-1, cp1252",
        advice={e: f"n.csv --encoding {e}" for e in ("utf-8", "latin-1", "cp1252")},
        code=2,
    ),
    "half_of_utf_16": Refusal(
        make=lambda: Path("n.csv").write_bytes(ROWS.encode("utf-16")[:-1]),
        command="n.csv --encoding utf-16",
        says="correct the file there, or get it again",
        advice={"get it again": written("n.csv", ROWS, "utf-16")},
    ),
    "half_characters": Refusal(
        make=written("n.csv", "headline\n+2AA-\n"),
        command="n.csv --encoding utf-7",
        says=" holds lone surrogates (half characters) in ",
        advice={"correct the file": CORRECTED},
    ),
}  # fmt: skip

HEADERS = {
    "nothing": Refusal(
        make=written("n.csv", ""),
        says=" is empty: it needs ",
        advice={"a header line at least": CORRECTED},
    ),
    "no_names": Refusal(
        make=written("n.csv", ",,\n1,Oil falls,3\n"),
        says=" has no header line: it needs one that names its columns",
        advice={"one that names its columns": CORRECTED},
    ),
    "a_name_twice": Refusal(
        make=written("n.csv", ROWS.replace("source", "Headline")),
        says=": rename one",
        advice={"rename one": written("n.csv", ROWS)},
    ),
    "two_without_names": Refusal(
        make=written("n.csv", "headline,,\nOil falls,,\nSales rise,,\nNet loss,,\n"),
        says=": rename one",
        advice={"rename one": written("n.csv", "headline,a,b\nOil falls,,\nb,,\nc,,\n")},
    ),
    "an_open_quote": Refusal(
        make=written("n.csv", ROWS.replace("headline", '"headline')),
        says="it part of one name: correct the file",
        advice={"correct the file": CORRECTED},
    ),
    "text_behind_a_quote": Refusal(
        make=written("n.csv", ROWS.replace("id,", '"id"x,')),
        says=": its header cannot be parsed (",
        advice={"correct it": CORRECTED},
    ),
    "no_usual_text_column": Refusal(
        make=written("n.csv", ROWS.replace("headline", "body")),
        says=": name one with --text-column; it has: ",
        advice={"it has: id, body, source": "n.csv --text-column body"},
    ),
    "no_such_text_column": Refusal(
        make=written("n.csv", ROWS),
        command="n.csv --text-column body",
        says="; it has: ",
        advice={"it has: id, headline, source": "n.csv --text-column headline"},
    ),
    "no_such_date_column": Refusal(
        make=written("n.csv", re.sub(",[ABC]", ",2014-01-06", ROWS).replace("source", "when")),
        command="n.csv --date-column day",
        says=", named with --date-column; it has: ",
        advice={"it has: id, headline, when": "n.csv --date-column when"},
    ),
    "a_result_column": Refusal(
        make=written("n.csv", ROWS.replace("source", "sentiment")),
        says="or let it be replaced with --replace-columns",
        advice={"--replace-columns": "n.csv --replace-columns", "rename it": CORRECTED},
    ),
    "no_such_zone": Refusal(
        make=written("n.csv", ROWS),
        command="n.csv --timezone London",
        says=": name a zone such as Europe/London or America/New_York,",
        advice={
            zone: f"n.csv --timezone {zone}"
            for zone in ("Europe/London", "America/New_York", "+05:30")
        },
        code=2,
    ),
    "no_such_date_format": Refusal(
        make=written("n.csv", ROWS),
        command="n.csv --date-format day",
        says="--date-format takes dmy, mdy or ymd, or a format such as '%d/%m/%Y %H:%M'",
        advice={
            form: f"n.csv --date-format {form}"
            for form in ("dmy", "mdy", "ymd", "'%d/%m/%Y %H:%M'")
        },
        code=2,
    ),
}

DIALECTS = {
    "backslash_escapes": Refusal(
        make=written("n.csv", HEADER + '1,"Tarn \\"wins\\" it",A\n' + OTHERS),
        says=" has quotes behind backslashes (",
        advice={"--escape '\\'": "n.csv --escape '\\'"},
    ),
    "backslashes_at_the_end_of_text": Refusal(
        make=written("n.csv", 'id,headline\n1,"C:\\\\"\n2,"D:\\\\"\n3,Net loss\n'),
        says="it with --escape '\\'; if it is part of the text, with --escape '\"'",
        advice={
            "--escape '\\'": "n.csv --escape '\\'",
            "--escape '\"'": "n.csv --escape '\"'",
        },
    ),
    "escaped_delimiters": Refusal(
        make=written("n.csv", "id,headline\n1,Oil falls\\, again\n2,Sales rise\n3,Net loss\n"),
        says=" escapes with backslashes (line ",
        advice={"--escape '\\'": "n.csv --escape '\\'"},
    ),
    "quotes_that_are_text": Refusal(
        make=written("n.csv", HEADER + '1,"Oil" falls,A\n' + OTHERS),
        says="text stands behind a closing quote",
        advice={"--quote none": "n.csv --quote none"},
    ),
    "an_open_quote": Refusal(
        make=written("n.csv", HEADER + '1,"Oil falls,A\n' + OTHERS),
        says="a quote is opened and not closed, which makes the rows after it part of one value",
        advice={"--quote none": "n.csv --quote none", "correct the file": CORRECTED},
    ),
    "an_open_quote_before_ragged_lines": Refusal(
        make=written("n.csv", HEADER + '1,"Oil\nfalls, again, A\n' + OTHERS),
        says="a quote is opened and not closed, which makes the rows after it part of one value",
        advice={"correct the file": CORRECTED},
    ),
}

NO_ROW_FITS = (
    ", and no row has those of the header: let the header name as many columns as the rows"
)
LENGTHS = {
    "a_ragged_row": Refusal(
        make=written("n.csv", ROWS + "4,x\n"),
        says=" such rows): ",
        advice={"--max-bad-rows 1": "n.csv --max-bad-rows 1", "correct the file": CORRECTED},
    ),
    "rows_longer_than_the_header": Refusal(
        make=written("n.csv", ROWS.replace(",source", "")),
        says=NO_ROW_FITS,
        advice={"let the header name as many columns as the rows have": CORRECTED},
    ),
    "commas_in_one_column": Refusal(
        make=written("n.csv", "headline\nOil falls, says bank\nSales rise\nNet loss\n"),
        says=": if its lines are one column, commas and all, read it with --input-format tsv",
        advice={"--input-format tsv": "n.csv --input-format tsv", "correct the file": CORRECTED},
    ),
    "rows_with_two_delimiters_at_the_end": Refusal(
        make=written("n.csv", re.sub(r"(?<=[ABC])\n", ",,\n", ROWS)),
        says=NO_ROW_FITS,
        advice={
            "let the header name as many columns as the rows have": written(
                "n.csv", re.sub(r"(?<=[ABC])\n", ",,\n", ROWS).replace("source", "source,d,e")
            )
        },
    ),
    "rows_shorter_than_the_header": Refusal(
        make=written("n.csv", ROWS.replace("source", "source,url")),
        says=NO_ROW_FITS,
        advice={"let the header name as many columns as the rows have": CORRECTED},
    ),
    "values_behind_the_last_name": Refusal(
        make=written("n.csv", ROWS.replace(",source", "").replace(",A", ",").replace(",C", ",")),
        says="empty field: name all columns in the header",
        advice={"name all columns in the header": CORRECTED},
    ),
    "json_that_is_cut": Refusal(
        make=written("n.jsonl", LINES + '{"headl'),
        command="n.jsonl",
        says=" such lines): ",
        advice={
            "--max-bad-rows 1": "n.jsonl --max-bad-rows 1",
            "correct the file": written("n.jsonl", LINES),
        },
    ),
    "headlines_within_objects": Refusal(
        make=written("n.jsonl", LINES + '{"headline": {"main": "Oil falls"}, "t": "Oil falls"}\n'),
        command="n.jsonl",
        says=" holds JSON objects or lists, not text alone: ",
        advice={
            "write its text under a key of its own": written("n.jsonl", LINES),
            "name the headline column with --text-column": (
                written("n.jsonl", LINES.replace("headline", "t") + '{"headline": ["x"]}\n'),
                "n.jsonl --text-column t --limit 3",
            ),
        },
    ),
    "a_name_of_ours": Refusal(
        make=written("n.csv", ROWS.replace("source", "_T_time")),
        says="used while times are read: ",
        advice={"rename it": CORRECTED},
    ),
    "nothing": Refusal(
        make=written("n.jsonl", "\n\n"),
        command="n.jsonl",
        says=" is empty: it needs ",
        advice={"one JSON object on a line at least": written("n.jsonl", LINES)},
    ),
    "no_json": Refusal(
        make=written("n.jsonl", "{}\n"),
        command="n.jsonl",
        says=" holds no JSON objects: it needs one a line",
        advice={"it needs one a line": written("n.jsonl", LINES)},
    ),
} | {
    name: Refusal(
        make=written("n.jsonl", content),
        command="n.jsonl",
        says=", as in a file of one JSON document: write each object on a line of its own",
        advice={"write each object on a line of its own": written("n.jsonl", LINES)},
    )
    for name, content in (
        ("a_json_array", json.dumps(OBJECTS)),
        ("a_json_array_over_lines", "[\n" + ",\n".join(map(json.dumps, OBJECTS)) + "\n]\n"),
        ("a_json_object_over_lines", json.dumps(OBJECTS[0], indent=1)),
    )
}  # fmt: skip

KINDS = {
    "zip": Refusal(
        make=zipped,
        says=" is ",
        advice={
            "a ZIP archive (an .xlsx file is one too): unpack it": (unpack, "out/inside.csv"),
            "save it as CSV": written("n.csv", ROWS),
        },
    ),
    "parquet": Refusal(
        make=lambda: pq.write_table(TABLE, "n.csv"),
        says=" is ",
        advice={
            "give it the suffix .parquet": (lambda: Path("n.csv").rename("n.parquet"), "n.parquet")
        },
    ),
    "arrow": Refusal(
        make=lambda: feather.write_feather(TABLE, "n.csv"),
        says=" is ",
        advice={
            "write it as .parquet": (
                lambda: pq.write_table(feather.read_table("n.csv"), "m.parquet"),
                "m.parquet",
            )
        },
    ),
    "sqlite": Refusal(
        make=sqlite, says=" is ", advice={"write its table as .csv": (export_sqlite, "t.csv")}
    ),
    "web_page": Refusal(
        make=written("n.csv", "<!DOCTYPE html>\n<p>Not found, sorry</p>\n"),
        says=" is ",
        advice={"a web page (of an error or a login?): get the file again": CORRECTED},
    ),
    "gzip_cut_short": Refusal(
        make=lambda: Path("n.csv.gz").write_bytes(GZIP[:40]),
        command="n.csv.gz",
        says=" is not whole ",
        advice={"get it again": lambda: Path("n.csv.gz").write_bytes(GZIP)},
    ),
    "text_called_gzip": Refusal(
        make=written("n.csv.gz", ROWS),
        command="n.csv.gz",
        says=" is not whole ",
        advice={"get it again": lambda: Path("n.csv.gz").write_bytes(GZIP)},
    ),
}

CASES = {
    f"{group}-{name}": refusal
    for group, found in (
        ("encoding", ENCODINGS),
        ("header", HEADERS),
        ("dialect", DIALECTS),
        ("length", LENGTHS),
        ("kind", KINDS),
    )
    for name, refusal in found.items()
}


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name, found in CASES.items() for words in found.advice]
)
def test_the_advice_works(run, tiny_model, name, words):
    _, summary = follow(run, CASES[name], words, tiny_model)
    rows = summary["rows"]
    assert rows["read"] == CASES[name].rows
    assert rows["scored"] + rows["truncated"] == rows["read"]


def test_a_row_that_is_too_long_is_read_from_parquet(run, score, tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr("finsent_batch.io.csv_reader.LARGEST_ROW_BYTES", 1 << 22)
    columns = {"headline": HEADS, "source": ["A" * (17 << 20), "B", "C"]}
    pl.DataFrame(columns).write_csv("n.csv")
    done = run("score", "n.csv", "--model", tiny_model)
    assert done.code == 65
    assert "64 MB: check its quotes, or write it as Parquet" in done.err
    pl.DataFrame(columns).write_parquet("n.parquet")
    assert score("n.parquet")["rows"]["read"] == 3


def test_what_is_advised_keeps_every_value(run, tiny_model):
    """The options that messages name change how a file is read: the headlines must be those."""
    for name, wanted in {
        "dialect-backslash_escapes": 'Tarn "wins" it',
        "dialect-escaped_delimiters": "Oil falls, again",
        "dialect-quotes_that_are_text": '"Oil" falls',
        "dialect-an_open_quote": '"Oil falls',
        "encoding-utf_16_without_a_mark": "Oil falls",
        "dialect-backslashes_at_the_end_of_text": "C:\\",
        "encoding-latin_1": "Zürich",
    }.items():
        words = next(iter(CASES[name].advice))
        follow(run, CASES[name], words, tiny_model)
        assert pq.read_table("n.scored.parquet")["headline"][0].as_py() == wanted, name
        Path("n.csv").unlink()
        Path("n.scored.parquet").unlink()
        Path("finsent.duckdb").unlink()
