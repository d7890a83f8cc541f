"""What `score` refuses: one line on stderr, the right exit code, nothing left behind."""

import gzip
import json
import os
import shutil
import subprocess
import sys

import duckdb
import polars as pl
import pytest

from ..helpers.stores import committed

CSV = "id,headline\n1,Oil falls\n2,Bank cuts jobs\n"


@pytest.fixture
def refused(run, tiny_model, tmp_path):
    """Run `score`, which must refuse with `code`, say all in one line and write nothing."""

    def call(code, *arguments, says, before=()):
        files = snapshot(tmp_path)
        model = () if "--model" in arguments else ("--model", tiny_model)
        done = run(*before, "score", *arguments, *model, "--weights", "fp32", "--device", "cpu")
        lines = done.err.splitlines()
        assert (done.code, len(lines), done.out) == (code, 1, ""), done.err
        assert lines[0].startswith("finsent-batch: error: ")
        assert "Traceback" not in done.err
        for fragment in says:
            assert str(fragment) in lines[0]
        assert snapshot(tmp_path) == files

    return call


def snapshot(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.fixture
def news(tmp_path):
    (tmp_path / "news.csv").write_text(CSV)
    return "news.csv"


@pytest.fixture
def table(tmp_path):
    with duckdb.connect(str(tmp_path / "feed.duckdb")) as connection:
        connection.execute("CREATE TABLE news AS SELECT 'Oil falls' AS headline, 1 AS id")
        connection.execute("CREATE TABLE prices (i INT)")
    return "feed.duckdb"


@pytest.fixture
def hold():
    """Open a DuckDB file in another process until the test ends; gives that process's id."""
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); input()"
    held = []

    def call(file):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        held.append(process)
        assert process.stdout.readline()
        return process.pid

    yield call
    for process in held:
        process.communicate()


def test_an_input_that_is_not_there(refused):
    refused(66, "none.csv", says=["none.csv does not exist"])
    refused(66, "none/*.csv", says=["none/*.csv", "no .csv, .csv.gz, .parquet files"])
    refused(66, "none.duckdb", "--table", "t", says=["none.duckdb does not exist"])


def test_an_empty_folder(refused, tmp_path):
    (tmp_path / "in").mkdir()
    refused(66, "in", says=["in: no .csv, .csv.gz, .parquet files there"])


@pytest.mark.parametrize("name", ["news.txt", "news", "news.xlsx", "news.csv.zip"])
def test_a_suffix_that_means_nothing(refused, tmp_path, name):
    (tmp_path / name).write_text(CSV)
    refused(2, name, says=["unknown suffix", "inputs are .csv, .csv.gz, .parquet, .duckdb"])


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("out.txt", "unknown output suffix"),
        ("out.csv.bz2", "unknown output suffix"),
    ],
)
def test_an_output_suffix_that_means_nothing(refused, news, output, said):
    refused(2, news, "-o", output, says=[said, ".parquet, .csv, .duckdb"])


def test_a_text_column_that_is_not_there_lists_those_that_are(refused, news, tmp_path):
    refused(65, news, "--text-column", "body", says=["no column 'body'", "it has: id, headline"])
    (tmp_path / "other.csv").write_text("id,body\n1,x\n")
    refused(65, "other.csv", says=["--text-column", "it has: id, body"])


def test_a_text_column_that_holds_no_text(refused, tmp_path):
    pl.DataFrame({"id": [1], "headline": [1.5]}).write_parquet(tmp_path / "n.parquet")
    refused(65, "n.parquet", says=["column 'headline'", "holds double, not text"])


@pytest.mark.parametrize("cut", [0, 3, 100, -20])
def test_parquet_that_is_empty_or_cut_off(refused, headlines, tmp_path, cut):
    headlines.write_parquet(tmp_path / "p.parquet")
    (tmp_path / "p.parquet").write_bytes((tmp_path / "p.parquet").read_bytes()[:cut])
    refused(65, "p.parquet", says=["p.parquet is not a readable Parquet file"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.csv", b"headline\nfine\nS\xe4hk\xf6\n", ["is not utf-8 (line 3)", "--encoding"]),
        ("u.csv", CSV.encode("utf-16"), ["is not utf-8 (line 1)", "--encoding"]),
        ("r.csv", b"id,headline\n1,x\n2,y,z\n", ["line 3: 3 fields", "--max-bad-rows 1"]),
        ("q.csv", b'id,headline\n1,"x\n2,y\n', ["line 2: a quote is opened and not closed"]),
        ("d.csv", b"id,headline,headline\n1,x,y\n", ["'headline' more than once"]),
        ("e.csv", b"", ["is empty"]),
        ("g.csv.gz", gzip.compress(CSV.encode())[:-5], ["is not whole gzip data"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_csv_that_cannot_be_read_as_it_stands(refused, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    refused(65, name, says=[name, *says])


def test_an_encoding_that_is_none(refused, news):
    refused(2, news, "--encoding", "klingon", says=["unknown encoding 'klingon'"])


def test_a_column_that_would_be_overwritten(refused, tmp_path):
    (tmp_path / "s.csv").write_text("headline,Sentiment\nx,y\n")
    refused(65, "s.csv", says=["already has the column 'Sentiment'", "--replace-columns"])


def test_an_output_that_is_the_input(refused, news, table, headlines, tmp_path):
    headlines.write_parquet(tmp_path / "p.parquet")
    (tmp_path / "link.parquet").symlink_to(tmp_path / "p.parquet")
    for output in ("p.parquet", "../" + tmp_path.name + "/p.parquet", "link.parquet"):
        refused(2, "p.parquet", "-o", output, says=["is the input itself"])
    options = (table, "--table", "news", "--output-table")
    for name in ("news", "News"):  # one and the same to DuckDB
        refused(2, *options, name, says=["is the input itself"])


def test_an_output_that_is_the_store(refused, news):
    before = ("--store", "out.duckdb")
    refused(2, news, "-o", "out.duckdb", before=before, says=["out.duckdb is the store"])


def test_places_where_nothing_can_be_written(refused, news):
    for output in (f"{news}/out.parquet", f"{news}/deep/out.csv", f"{news}/out.duckdb"):
        refused(73, news, "-o", output, says=["cannot write"])
    refused(73, news, "-o", "/proc/none/out.parquet", says=["cannot write"])
    refused(73, news, before=("--store", f"{news}/s.duckdb"), says=["store"])
    refused(73, news, before=("--store", "none/s.duckdb"), says=["folder", "does not exist"])


def test_an_unknown_table_lists_those_there_are(refused, table):
    refused(66, table, "--table", "nws", says=["no table 'nws'", "it has: news, prices"])
    refused(2, table, says=["name a table with --table", "it has: news, prices"])


def test_a_file_that_is_no_duckdb_file(refused, tmp_path):
    (tmp_path / "x.duckdb").write_text("not a database")
    refused(65, "x.duckdb", "--table", "t", says=["x.duckdb is not a DuckDB database"])


def test_a_duckdb_input_that_another_process_has_open(refused, table, hold, tmp_path):
    pid = hold(tmp_path / table)
    held = [f"{table} is in use by process {pid}", "run again"]
    refused(75, table, "--table", "news", says=held)
    refused(75, table, says=held)


def test_a_store_that_another_process_has_open(refused, run, news, tiny_model, hold, tmp_path):
    assert run("score", news, "--model", tiny_model, "--weights", "fp32").code == 0
    pid = hold(committed(tmp_path / "finsent.duckdb"))
    refused(75, news, says=["the store", f"is in use by process {pid}", "--store"])


def test_a_store_of_a_newer_version(refused, run, news, tiny_model, tmp_path):
    assert run("score", news, "--model", tiny_model, "--weights", "fp32").code == 0
    with duckdb.connect(str(tmp_path / "finsent.duckdb")) as connection:
        connection.execute("UPDATE store_info SET schema_version = 99")
    refused(78, news, says=["has schema 99", "upgrade finsent-batch"])


def test_a_store_that_is_something_else(refused, news, table, tmp_path):
    before = ("--store", table)
    refused(78, news, before=before, says=["not a finsent store"])
    refused(65, news, before=("--store", news), says=["is not a DuckDB database"])


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("color = 1", ["unknown key 'color' in the top level"]),
        ("[score]\nmodle = 'x'", ["unknown key 'modle' in [score]", "model"]),
        ("[score]\nlimit = 'many'", ["score.limit = 'many'"]),
        ("memory-limit = 'plenty'", ["memory limit 'plenty' is not a size"]),
        ("= nonsense", ["is not valid TOML"]),
    ],
)
def test_a_configuration_that_is_wrong(refused, news, tmp_path, toml, says):
    (tmp_path / "c.toml").write_text(toml)
    refused(78, news, before=("--config", "c.toml"), says=says)


def test_a_model_that_is_not_there(refused, news):
    refused(66, news, "--model", "no-such-model", says=["no model 'no-such-model'", "mini"])
    refused(66, news, "--model", "acme/none", says=["acme/none", "could not be downloaded"])
    refused(66, news, "--model", news, says=["is a file: name the directory"])


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy of the tiny model in the working folder, to be spoilt."""
    return shutil.copytree(tiny_model, tmp_path / "model")


def test_a_model_in_pickle_only(refused, news, model):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    refused(78, news, "--model", "model", says=["pickled weights only", "convert them"])


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["LABEL_0", "LABEL_1", "LABEL_2"], ["its labels are LABEL_0, LABEL_1", "id2label"]),
        (
            ["positive", "negative"],
            ["it has 2 labels (positive, negative)", "--model-labels 0=positive,1=negative"],
        ),
        (["positive"] * 3, ["its labels are positive, positive, positive", "id2label"]),
        ([], ["it has 2 labels (LABEL_0, LABEL_1)", "id2label", "--model-labels"]),
    ],
)
def test_a_model_with_other_labels(refused, news, model, labels, says):
    config = json.loads((model / "config.json").read_text())
    config["id2label"] = {str(i): label for i, label in enumerate(labels)}
    (model / "config.json").write_text(json.dumps(config))
    refused(78, news, "--model", "model", says=says)


def test_a_model_of_another_kind(refused, news, model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    refused(78, news, "--model", "model", says=["is a BertModel"])
    (model / "config.json").unlink()
    refused(66, news, "--model", "model", says=["has no config.json"])


def test_a_failed_run_still_gives_its_summary(run, tmp_path, tiny_model):
    done = run("score", "absent.parquet", "--summary", "json")
    assert (done.json["status"], done.json["exit_code"]) == ("failed", 66)
    pl.DataFrame({"headline": ["oil"], "sentiment": ["x"]}).write_parquet(tmp_path / "n.parquet")
    done = run("score", "n.parquet", "--model", tiny_model, "--summary", "json")
    assert (done.code, done.json["exit_code"]) == (65, 65)


def test_a_named_pipe_is_refused(run, tmp_path):
    """Reading one waits for whoever writes, where no signal would be looked at."""
    os.mkfifo(tmp_path / "p.csv")
    done = run("score", "p.csv")
    assert (done.code, "is not a regular file" in done.err) == (2, True), done.err
