"""Names, settings and files of a kind that nobody expects: one line and an exit code."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import time

import duckdb
import polars as pl
import pytest

from finsent_batch.errors import ConfigError
from finsent_batch.models.prompts import load_prompt

from ..helpers.stores import FILES


@pytest.fixture
def place(tmp_path, tiny_model):
    """Two headlines, and a model in the working folder."""
    pl.DataFrame({"headline": ["Oil rises", "Oil falls"]}).write_parquet(tmp_path / "a.parquet")
    shutil.copytree(tiny_model, tmp_path / "m")
    return tmp_path


def refused(done, code, *words):
    assert done.code == code, done.err
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


ODD = ["a?b.duckdb", "a\\b.duckdb", os.fsdecode(b"a\xffb.duckdb"), "in?side/a.duckdb"]


@pytest.mark.parametrize("name", ODD)
def test_a_database_that_duckdb_would_look_for_elsewhere(run, place, name):
    (place / "in?side").mkdir()
    options = ("--model", "m", "--weights", "fp32")
    refused(run("--store", name, "score", "a.parquet", *options), 2, "rename the file")
    before = sorted(place.rglob("*"))
    refused(run("score", "a.parquet", "-o", name, *options), 2, "rename the file")
    made = {f.name for f in set(place.rglob("*")) - set(before)}
    assert made <= FILES
    with duckdb.connect(str(place / "plain.duckdb")) as there:
        there.execute("CREATE TABLE news AS SELECT 'Oil rises' AS headline")
    (place / "plain.duckdb").rename(place / name)
    # An input's name that is not UTF-8 is bad data of any kind of file.
    code = 65 if "\udcff" in name else 2
    refused(run("score", name, "--table", "news", *options), code, "rename")
    refused(run("query", "label_mix", "--from", name), 2, "rename the file")
    refused(run("--store", name, "runs"), 2, "rename the file")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("[score]\nlimit = " + "9" * 5_000, "not valid TOML"),
        ('store = "a\\u0000b"', "NUL"),
        ('[score]\nmodel = "a\\u0000b"', "NUL"),
        ('[score]\ngate = ["a\\u0000b"]', "NUL"),
        ('"a\\u0000b" = 1', "NUL"),
    ],
)
def test_toml_that_cannot_be_meant(run, place, text, words):
    (place / "c.toml").write_text(text)
    for command in (("score", "a.parquet"), ("config", "show")):
        refused(run("--config", "c.toml", *command), 78, words)
    with pytest.raises(ConfigError, match=words.removeprefix("not valid ")):
        load_prompt(str(place / "c.toml"))


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "finsent.json"])
@pytest.mark.parametrize("text", [DEEP, '{"a": ' + "9" * 5_000 + "}"])
def test_json_of_a_model_that_cannot_be_meant(run, place, name, text):
    (place / "m" / name).write_text(text)
    done = run("score", "a.parquet", "--model", "m", "--weights", "fp32")
    assert done.code in (65, 78), done.err
    assert done.err.count("\n") == 1


def test_outputs_that_say_of_themselves_what_cannot_be_meant(run, place):
    """Somebody else's file, then: it is not replaced."""
    import pyarrow.parquet as pq

    from finsent_batch.io.provenance import PROVENANCE_KEY

    table = pq.read_table(place / "a.parquet").replace_schema_metadata({PROVENANCE_KEY: DEEP})
    pq.write_table(table, place / "o.parquet")
    with duckdb.connect(str(place / "o.duckdb")) as there:
        there.execute("CREATE TABLE a_scored AS SELECT 1 AS a")
        there.execute(f"COMMENT ON TABLE a_scored IS '{DEEP}'")
    for output in ("o.parquet", "o.duckdb"):
        done = run("score", "a.parquet", "-o", output, "--model", "m", "--weights", "fp32")
        refused(done, 73)


def test_a_file_whose_name_looks_like_a_table(run, place):
    options = ("--model", "m", "--weights", "fp32")
    assert run("score", "a.parquet", "-o", "a::b.parquet", *options).code == 0
    done = run("query", "label_mix", "--from", "a::b.parquet", "--format", "json")
    assert done.code == 0, done.err
    assert sum(row["rows"] for row in done.json) == 2
    shutil.copyfile(place / "a.parquet", place / "c::d.parquet")
    assert run("score", "c::d.parquet", *options).code == 0
    assert run("store", "forget", "c::d.parquet").code == 0


@pytest.mark.parametrize("column", ["sentiment_score", "run_id", "input_file"])
def test_a_table_that_lost_a_column_is_refused_before_anything_is_scored(run, place, column):
    options = ("-o", "t.duckdb", "--append", "--output-table", "t", "--model", "m",
               "--weights", "fp32")  # fmt: skip
    assert run("score", "a.parquet", *options).code == 0
    with duckdb.connect(str(place / "t.duckdb")) as there:
        there.execute(f"ALTER TABLE t DROP COLUMN {column}")
    pl.DataFrame({"headline": ["Never seen"]}).write_parquet(place / "b.parquet")
    refused(run("score", "b.parquet", *options), 73, f"lacks the column {column!r}")
    with duckdb.connect(str(place / "finsent.duckdb"), read_only=True) as store:
        assert store.execute("SELECT count(*) FROM scores").fetchall() == [(2,)]


@pytest.mark.parametrize("header", ["a" * 4, '"x",', '"\n",'])
def test_a_header_that_unpacks_to_more_than_memory_should_hold(run, place, header, monkeypatch):
    megabytes = 65
    if header != "aaaa":
        megabytes = 5
        monkeypatch.setattr("finsent_batch.io.csv_text.LARGEST_ROW_BYTES", 4 << 20)
    with gzip.open(place / "b.csv.gz", "wt", compresslevel=1) as stream:
        for _ in range(3):
            stream.write(header * (megabytes << 18))
        stream.write("\nx\n")
    refused(run("score", "b.csv.gz", "--model", "m"), 65, "header of more than 64 MB")


@pytest.mark.parametrize(
    "changes",
    [
        {"r": 200_000},
        {"r": 0},
        {"r": None},
        {"rank_pattern": {"query": 200_000}},
        {"target_modules": "([a-z0-9._]+)+!"},
        {"target_modules": ".?" * 40 + "!"},
        {"exclude_modules": "(.*a)*!"},
        {"layers_pattern": ["(a|aa)+!"], "layers_to_transform": [0]},
        {"alpha_pattern": {"(.*)+!": 2}},
    ],
    ids=str,
)
def test_an_adapter_that_would_fill_the_memory_or_never_end(run, place, causal_adapter, changes):
    shutil.copytree(causal_adapter, place / "adapter")
    file = place / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    begun = time.monotonic()
    refused(run("score", "a.parquet", "--model", "adapter"), 78, "adapter_config.json")
    assert time.monotonic() - begun < 60


@pytest.fixture(scope="module")
def causal_adapter(tmp_path_factory):
    from ..helpers.causal_models import save_adapter, save_base

    folder = tmp_path_factory.mktemp("adapters")
    return save_adapter(folder / "adapter", save_base(folder / "base"))


def test_ctrl_c_behind_the_line_that_says_why_adds_none(place):
    script = (
        "import os, signal, sys; from finsent_batch.jobs import cli, start; say = cli._say\n"
        "def twice(*given, **fields):\n"
        "    os.kill(os.getpid(), signal.SIGINT); say(*given, **fields)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "cli._say = twice; sys.argv = ['finsent-batch', 'runs']; start.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 66, done.stderr
    assert done.stderr.count("\n") == 1
    assert "no store at" in done.stderr


@pytest.mark.parametrize("wait", [0.03, 0.06, 0.1, 0.2])
def test_ctrl_c_while_the_command_starts(place, wait):
    """From its first line on: before that, Python itself has not started."""
    script = (
        "import os, signal, sys, threading; from finsent_batch.jobs.start import main; "
        "sys.argv = ['finsent-batch', 'runs']; stop = lambda: os.kill(os.getpid(), signal.SIGINT); "
        f"threading.Timer({wait}, stop).start(); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode in (130, 66), done.stderr  # 66: it was quicker, and found no store
    assert "Traceback" not in done.stderr
    # Click ends the line on which a terminal shows ^C.
    assert done.stderr.lstrip("\n").count("\n") == 1
