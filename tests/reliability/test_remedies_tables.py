"""What `score` advises about tables, files and outputs that it refuses works to the letter."""

import base64
import os
import shutil
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest

from finsent_batch.io.duckdb_append import INPUT_COLUMN

from ..helpers.remedies import HEADS, ROWS, TABLE, Refusal, as_parquet, follow, sql, steps, written

ROOT = Path(__file__).parent.parent.parent
NEWS = "CREATE TABLE {} AS SELECT unnest(['Oil falls', 'Sales rise', 'Net loss']) AS headline"
MADE = sql(NEWS.format("t"))
AGAIN = as_parquet({"headline": HEADS})


class Keys(encryption.KmsClient):
    """Keys that are wrapped in nothing, for a file that nobody here can read."""

    def wrap_key(self, key, name):
        return base64.b64encode(key)

    def unwrap_key(self, key, name):
        return base64.b64decode(key)


def encrypted(**how):
    def make():
        factory = encryption.CryptoFactory(lambda _: Keys())
        settings = encryption.EncryptionConfiguration(
            footer_key="f", column_keys={"c": ["headline"]}, **how
        )
        properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), settings)
        with pq.ParquetWriter(
            "n.parquet", TABLE.schema, encryption_properties=properties
        ) as writer:
            writer.write_table(TABLE)

    return make


def packed_with_lzo():
    """Write a file whose footer says LZO, which this reader lacks, in the place of Snappy."""
    pq.write_table(TABLE, "n.parquet", compression="snappy")
    content = Path("n.parquet").read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    for at in range(len(content) - 8 - footer, len(content) - 8):
        if content[at : at + 2] == b"\x15\x02":  # the number 1, perhaps of the codec
            Path("n.parquet").write_bytes(content[: at + 1] + b"\x06" + content[at + 2 :])
            try:
                pq.read_table("n.parquet")
            except (OSError, pa.ArrowException) as error:
                if "LZO" in str(error):
                    return
    raise AssertionError("there is no codec in the footer")


def mixed_int96():
    far = pa.array([datetime(9999, 12, 31), None, None], pa.timestamp("us"))
    exact = pa.array([1, 2, 3], pa.timestamp("ns"))
    pq.write_table(
        pa.table({"headline": HEADS, "far": far, "exact": exact}),
        "n.parquet",
        use_deprecated_int96_timestamps=True,
        store_schema=False,
    )


def in_microseconds():
    found = pq.read_table("n.parquet", coerce_int96_timestamp_unit="us")
    pq.write_table(found, "n.parquet")


def remove(name):
    return lambda: shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()


def folder(*names):
    return lambda: [Path(name).mkdir(parents=True, exist_ok=True) for name in names]


PARQUET = {
    "encrypted": Refusal(
        make=encrypted(),
        command="n.parquet",
        says=" is encrypted: write it without encryption, and score that",
        advice={"write it without encryption": AGAIN},
    ),
    "encrypted_but_for_its_footer": Refusal(
        make=encrypted(plaintext_footer=True),
        command="n.parquet",
        says=" is encrypted: write it without encryption, and score that",
        advice={"write it without encryption": AGAIN},
    ),
    "of_an_unknown_codec": Refusal(
        make=packed_with_lzo,
        command="n.parquet",
        says="it again with common types and Zstandard or Snappy compression",
        advice={
            "Zstandard": lambda: pq.write_table(TABLE, "n.parquet", compression="zstd"),
            "Snappy": lambda: pq.write_table(TABLE, "n.parquet", compression="snappy"),
        },
    ),
    "cut_short": Refusal(
        make=steps(AGAIN, lambda: os.truncate("n.parquet", 100)),
        command="n.parquet",
        says=" is not a readable Parquet file (empty, truncated or corrupt): ",
        advice={"get it again": AGAIN},
    ),
    "of_times_that_no_type_holds": Refusal(
        make=mixed_int96,
        command="n.parquet",
        says="no type holds: write them as TIMESTAMP in microseconds",
        advice={"write them as TIMESTAMP in microseconds": in_microseconds},
    ),
    "of_numbers": Refusal(
        make=as_parquet({"headline": [1, 2, 3], "body": HEADS}),
        command="n.parquet",
        says="name the headline column with --text-column",
        advice={"--text-column": "n.parquet --text-column body"},
    ),
    "of_text_that_is_not_utf_8_to_csv": Refusal(
        make=as_parquet(
            {
                "headline": HEADS,
                "raw": pa.array([b"\xff", b"a", b"b"]).view(pa.string()),
            }
        ),
        command="n.parquet -o o.csv",
        says="): write to .parquet, or correct the input",
        advice={"write to .parquet": "n.parquet -o o.parquet", "correct the input": AGAIN},
    ),
    "of_exact_durations_to_csv": Refusal(
        make=as_parquet({"headline": HEADS, "d": pa.array([1, 2, 3], pa.duration("ns"))}),
        command="n.parquet -o o.csv",
        says="has: write to .parquet",
        advice={"write to .parquet": "n.parquet -o o.parquet"},
    ),
    "of_types_that_csv_lacks": Refusal(
        make=as_parquet({"headline": HEADS, "d": pa.array([1, 2, 3], pa.decimal256(60, 0))}),
        command="n.parquet -o o.csv",
        says=": DuckDB, which writes CSV and tables, has no type for the column ",
        advice={"write to .parquet": "n.parquet -o o.parquet"},
        code=73,
    ),
    "of_a_column_without_a_name_to_a_table": Refusal(
        make=as_parquet({"headline": HEADS, "": [1, 2, 3]}),
        command="n.parquet -o o.duckdb",
        says="the input has: name it, or write to .parquet or .csv",
        advice={
            "name it": as_parquet({"headline": HEADS, "x": [1, 2, 3]}),
            "write to .parquet": "n.parquet -o o.parquet",
            "or .csv": "n.parquet -o o.csv",
        },
        code=73,
    ),
}

SCHEMAS = {
    "no_table_named": Refusal(
        make=steps(MADE, sql("CREATE SCHEMA feeds", NEWS.format("feeds.h"))),
        command="n.duckdb",
        says=": name a table with --table; it has: ",
        advice={
            "it has: t": "n.duckdb --table t",
            "feeds.h": "n.duckdb --table feeds.h",
        },
        code=2,
    ),
    "no_such_table": Refusal(
        make=sql("CREATE SCHEMA feeds", NEWS.format("feeds.h")),
        command="n.duckdb --table h",
        says="; it has: ",
        advice={"it has: feeds.h": "n.duckdb --table feeds.h"},
        code=66,
    ),
    "a_schema_that_is_a_word_of_sql": Refusal(
        make=sql('CREATE SCHEMA "group"', NEWS.format('"group"."order"')),
        command="n.duckdb --table order",
        says="; it has: ",
        advice={"it has: group.order": "n.duckdb --table group.order"},
        code=66,
    ),
    "a_view_over_files": Refusal(
        make=steps(written("x.csv", ROWS), sql("CREATE VIEW v AS FROM read_csv('x.csv')")),
        command="n.duckdb --table v",
        says=" reads other files, which is not allowed: ",
        advice={
            "make a table of it": (sql("CREATE TABLE w AS FROM v"), "n.duckdb --table w"),
            "name those files as INPUT": "x.csv",
        },
    ),
    "a_view_that_fails": Refusal(
        make=steps(
            MADE, sql("CREATE VIEW w AS SELECT headline, CAST(headline AS INTEGER) AS n FROM t")
        ),
        command="n.duckdb --table w",
        says="it, or make a table of it",
        advice={
            "correct it": sql("CREATE OR REPLACE VIEW w AS FROM t"),
            "make a table of it": (
                sql("CREATE TABLE x AS SELECT headline, TRY_CAST(headline AS INTEGER) AS n FROM t"),
                "n.duckdb --table x",
            ),
        },
    ),
    "types_that_parquet_lacks": Refusal(
        make=sql(f"CREATE TABLE t AS SELECT unnest({HEADS}) AS headline, INTERVAL 1 DAY AS d"),
        command="n.duckdb --table t -o o.parquet",
        says="): cast it in a view, or write to .duckdb",
        advice={
            "cast it in a view": (
                sql("CREATE VIEW v AS SELECT * REPLACE (CAST(d AS VARCHAR) AS d) FROM t"),
                "n.duckdb --table v -o o.parquet",
            ),
            "write to .duckdb": "n.duckdb --table t -o o.duckdb",
        },
        code=73,
    ),
    "integers_that_parquet_lacks": Refusal(
        make=sql(f"CREATE TABLE t AS SELECT unnest({HEADS}) AS headline, "
                 "170141183460469231731687303715884105727 AS n"),
        command="n.duckdb --table t -o o.parquet",
        says="know: cast it in a view, or write to .duckdb",
        advice={
            "cast it in a view": (
                sql("CREATE VIEW v AS SELECT * REPLACE (CAST(n AS VARCHAR) AS n) FROM t"),
                "n.duckdb --table v -o o.parquet",
            ),
            "write to .duckdb": "n.duckdb --table t -o o.duckdb",
        },
    ),
    "no_database": Refusal(
        make=written("n.duckdb", ROWS),
        command="n.duckdb --table t",
        says=" is not a DuckDB database: check the file",
        advice={"check the file": steps(remove("n.duckdb"), MADE)},
    ),
}  # fmt: skip

FOLDER = steps(folder("in"), as_parquet({"headline": HEADS}, "in/a.parquet"))
OUTPUTS = {
    "of_somebody_else": Refusal(
        make=steps(AGAIN, written("o.csv", ROWS)),
        command="n.parquet -o o.csv",
        says="name another with -o, or replace it with --overwrite",
        advice={
            "name another with -o": "n.parquet -o p.csv",
            "--overwrite": "n.parquet -o o.csv --overwrite",
        },
        code=73,
    ),
    "that_is_a_folder": Refusal(
        make=steps(AGAIN, folder("n.scored.parquet")),
        command="n.parquet",
        says=" is a folder: name a file with -o",
        advice={"name a file with -o": "n.parquet -o o.parquet"},
        code=73,
    ),
    "of_another_suffix": Refusal(
        make=AGAIN,
        command="n.parquet -o o.xlsx",
        says=": unknown output suffix ",
        advice={".csv": "n.parquet -o o.csv"},
        code=2,
    ),
    "that_is_the_input": Refusal(
        make=AGAIN,
        command="n.parquet -o n.parquet",
        says=" is the input itself: name another with -o",
        advice={"name another with -o": "n.parquet -o o.parquet"},
        code=2,
    ),
    "that_is_the_store": Refusal(
        make=AGAIN,
        command="n.parquet -o finsent.duckdb",
        says=" is the store: give the results their own file",
        advice={"give the results their own file": "n.parquet -o o.duckdb"},
        code=2,
    ),
    "that_is_a_link": Refusal(
        make=steps(AGAIN, folder("in", "out"), lambda: Path("in/o.csv").symlink_to("../out/o.csv")),
        command="n.parquet -o in/o.csv",
        says=" is a link that leads out of its folder, to ",
        advice={
            "name that file": "n.parquet -o out/o.csv",
            "remove the link": remove("in/o.csv"),
        },
        code=73,
    ),
    "one_file_for_many": Refusal(
        make=FOLDER,
        command="in -o o.csv",
        says="the inputs are several: name a folder with -o, not ",
        advice={"name a folder with -o": "in -o o"},
        code=2,
    ),
    "one_table_for_many": Refusal(
        make=FOLDER,
        command="in -o o.duckdb --output-table t",
        says="in it with --append, or leave it out",
        advice={
            "with --append": "in -o o.duckdb --output-table t --append",
            "leave it out": "in -o o.duckdb",
        },
        code=2,
    ),
    "two_of_one_name": Refusal(
        make=steps(FOLDER, written("in/a.csv", ROWS)),
        command="in",
        says="score them one by one with -o",
        advice={"one by one with -o": "in/a.csv -o o.parquet"},
        code=2,
    ),
    "to_append_to_nothing": Refusal(
        make=AGAIN,
        command="n.parquet -o o.duckdb --append",
        says="--append collects inputs in one table of a .duckdb file",
        advice={
            "-o news.duckdb --output-table headlines --append": "n.parquet -o news.duckdb "
            "--output-table headlines --append"
        },
        code=2,
    ),
    "to_append_and_replace": Refusal(
        make=AGAIN,
        command="n.parquet -o o.duckdb --output-table t --append --overwrite",
        says="--append adds to a table, --overwrite replaces it: choose one",
        advice={
            "--append adds to a table": "n.parquet -o o.duckdb --output-table t --append",
            "--overwrite replaces it": "n.parquet -o o.duckdb --output-table t --overwrite",
        },
        code=2,
    ),
    "to_append_to_a_table_of_its_own": Refusal(
        make=steps(AGAIN, sql(NEWS.format("t"), name="o.duckdb")),
        command="n.parquet -o o.duckdb --output-table t --append",
        says=" was not made with --append: name another with --output-table",
        advice={
            "name another with --output-table": "n.parquet -o o.duckdb --output-table u --append"
        },
        code=73,
    ),
    "to_append_a_column_that_is_added": Refusal(
        make=as_parquet({"headline": HEADS, INPUT_COLUMN.upper(): HEADS}),
        command="n.parquet -o o.duckdb --output-table t --append",
        says=", which --append adds: rename it",
        advice={"rename it": as_parquet({"headline": HEADS, "source": HEADS})},
    ),
    "of_an_object_store": Refusal(
        make=AGAIN,
        command="n.parquet -o gcs://bucket/o.parquet",
        says=": outputs are files of this machine, or ",
        advice={"files of this machine": "n.parquet -o o.parquet"},
        code=2,
    ),
    "a_table_of_a_file": Refusal(
        make=AGAIN,
        command="n.parquet -o o.csv --output-table t",
        says="--output-table goes with a .duckdb output, not with ",
        advice={"a .duckdb output": "n.parquet -o o.duckdb --output-table t"},
        code=2,
    ),
}  # fmt: skip

INPUTS = {
    "of_another_suffix": Refusal(
        make=written("n.txt", ROWS),
        command="n.txt",
        says=", .duckdb, or a ",
        advice={
            ".csv": (lambda: Path("n.txt").rename("n.csv"), "n.csv"),
            "folder": (
                steps(folder("in"), lambda: Path("n.txt").rename("in/n.csv")),
                "in -o out",
            ),
        },
        code=2,
    ),
    "a_pipe": Refusal(
        make=lambda: os.mkfifo("n.csv"),
        says=" is not a regular file: write its content to one and score that",
        advice={"write its content to one": (written("m.csv", ROWS), "m.csv")},
        code=2,
    ),
    "a_folder_of_other_files": Refusal(
        make=steps(folder("in"), written("in/part-0001", ROWS)),
        command="in",
        says=" files there (nor ",
        advice={"no .csv": lambda: Path("in/part-0001").rename("in/part-0001.csv")},
        code=66,
    ),
    "a_table_of_a_file": Refusal(
        make=steps(AGAIN, MADE),
        command="n.parquet --table t",
        says="--table goes with a .duckdb input; ",
        advice={
            "a .duckdb input": "n.duckdb --table t",
            "is one table by itself": "n.parquet",
        },
        code=2,
    ),
    "a_table_of_a_folder": Refusal(
        make=steps(folder("in"), as_parquet({"headline": HEADS}, "in/a.parquet"), MADE),
        command="in --table t",
        says="--table goes with one .duckdb input, not with a folder",
        advice={"one .duckdb input": "n.duckdb --table t"},
        code=2,
    ),
    "a_broken_link": Refusal(
        make=steps(
            folder("in"),
            as_parquet({"headline": HEADS}, "in/a.parquet"),
            lambda: Path("in/b.parquet").symlink_to("gone"),
        ),
        command="in",
        says=" is a broken link: correct or remove it",
        advice={"remove it": remove("in/b.parquet")},
        code=66,
    ),
    "an_address": Refusal(
        make=AGAIN,
        command="https://example.org/n.parquet",
        says=": inputs are files and folders of this machine, or ",
        advice={"files": "n.parquet"},
        code=2,
    ),
    "that_is_not_there": Refusal(
        make=AGAIN,
        command="m.parquet",
        says=" does not exist: check the path",
        advice={"check the path": "n.parquet"},
        code=66,
    ),
    "nothing": Refusal(
        make=AGAIN,
        command="''",
        says="the input's name is empty: name a file, a folder or a quoted glob",
        advice={"a file": "n.parquet", "a quoted glob": "'*.parquet'"},
        code=2,
    ),
}  # fmt: skip

CASES = {
    f"{group}-{name}": refusal
    for group, found in (
        ("parquet", PARQUET),
        ("schema", SCHEMAS),
        ("output", OUTPUTS),
        ("input", INPUTS),
    )
    for name, refusal in found.items()
}


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name, found in CASES.items() for words in found.advice]
)
def test_the_advice_works(run, tiny_model, name, words):
    _, summary = follow(run, CASES[name], words, tiny_model)
    assert summary["rows"]["read"] == CASES[name].rows


@pytest.mark.parametrize(
    ("first", "then", "alter"),
    [
        ({}, {"desk": ["a", "b", "c"]}, "ADD COLUMN desk VARCHAR"),
        ({"desk": ["a", "b", "c"]}, {}, "DROP COLUMN desk"),
        ({"n": [1, 2, 3]}, {"n": ["x", "y", "z"]}, "ALTER n TYPE VARCHAR"),
    ],
)
def test_a_table_that_does_not_fit_can_be_altered_or_left(
    run, score, tmp_path, tiny_model, first, then, alter
):
    as_parquet({"headline": HEADS, **first}, "a.parquet")()
    as_parquet({"headline": HEADS, **then}, "b.parquet")()
    shared = ("-o", "o.duckdb", "--output-table", "t", "--append")
    score("a.parquet", *shared)
    done = run("score", "b.parquet", *shared, "--model", tiny_model)
    assert done.code == 73
    assert "alter the table, or append to another with --output-table" in done.err
    score("b.parquet", "-o", "o.duckdb", "--output-table", "u", "--append")
    sql(f"ALTER TABLE t {alter}", name="o.duckdb")()
    score("b.parquet", *shared)
    with duckdb.connect("o.duckdb", read_only=True) as there:
        assert there.sql("SELECT count(*) FROM t").fetchall() == [(6,)]
