"""The command as a process: what it loads, what it prints where, how it ends."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import click
import polars as pl
import pytest
from finsent_batch.jobs.cli import cli
from finsent_batch.jobs.parsing.global_options import global_options_first

from finsent_batch.version import __version__

COMMAND = str(Path(sys.executable).parent / "finsent-batch")
HEAVY = ("torch", "polars", "duckdb", "pyarrow", "transformers", "numpy", "sklearn", "datasets",
         "matplotlib", "jinja2")  # fmt: skip

# Hyper-parameters carry the names that transformers and peft give them.
SELF_EVIDENT = {
    "preset", "pooling", "learning-rate", "num-train-epochs", "per-device-train-batch-size",
    "gradient-accumulation-steps", "warmup-ratio", "weight-decay", "max-grad-norm",
    "label-smoothing-factor", "lora-r", "lora-alpha", "lora-dropout", "class-weights",
    "max-length", "seed",
}  # fmt: skip


def commands(group=cli, path=()):
    """Every command below a group as (words, command), groups not included."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = [pytest.param(words, command, id=" ".join(words)) for words, command in commands()]


@pytest.fixture
def published(tmp_path, scored_table):
    """A published table of 1,500 rows: its CSV is larger than any pipe."""
    row = (datetime(2024, 5, 1, 9), "Oil falls", (0.75, 0.25, 0.0))
    pl.concat([scored_table([row])] * 1_500).write_parquet(tmp_path / "news.parquet")
    return "news.parquet"


# ---- what it loads


def test_help_and_the_configuration_load_no_library_that_is_slow_to_load(tmp_path):
    lines = [
        ["--help"],
        ["--version"],
        ["config", "show"],
        *([*w, "--help"] for w, _ in commands()),
    ]
    program = f"""
import json, sys
from finsent_batch.jobs.cli import run
loaded = {{}}
for line in json.loads(sys.argv[1]):
    assert run(line) == 0, line
    loaded[" ".join(line)] = sorted(set({HEAVY!r}) & set(sys.modules))
print("LOADED", json.dumps(loaded))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(lines)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = json.loads(done.stdout.rpartition("LOADED ")[2])
    assert len(loaded) == len(lines) > 12
    assert loaded == {line: [] for line in loaded}


# ---- help


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_command_has_help_with_an_example(words, command):
    assert command.help
    assert command.help.splitlines()[0].endswith((".", "probabilities."))
    assert f"finsent-batch {' '.join(words)}" in command.help


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_option_has_help_or_a_name_that_says_all(words, command):
    silent = {
        max(option.opts, key=len).lstrip("-")
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    }
    assert silent <= (SELF_EVIDENT if words == ("train",) else set())


def test_every_global_option_has_help():
    assert all(option.help for option in cli.params)


def test_help_lists_every_command(run):
    done = run("--help")
    assert done.code == 0
    for name in cli.commands:
        assert f"  {name} " in done.out


def test_version(run):
    assert run("--version").out == f"finsent-batch, version {__version__}\n"


# ---- usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scores"], "No such command 'scores'"),
        (["score"], "Missing argument 'INPUT...'"),
        (["score", "x.csv", "--device", "tpu"], "'tpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["score", "x.csv", "--nothing"], "No such option '--nothing'"),
        (["score", ""], "the input's name is empty"),
        (["score", "x.csv", "-o", ""], "'-o' / '--output': the name is empty"),
        (["--store=", "store", "verify"], "'--store': the name is empty"),
        (["--config=", "runs"], "'--config': the name is empty"),
        (["--log-format", "xml", "runs"], "'xml' is not one of 'text', 'json'"),
    ],
)
def test_a_command_line_that_cannot_be_meant(run, arguments, message):
    done = run(*arguments)
    assert done.code == 2
    assert message in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("score x.csv --store s.duckdb", "--store s.duckdb score x.csv"),
        ("score x.csv --store=s.duckdb -v", "--store=s.duckdb -v score x.csv"),
        ("score x.csv -qo out.csv -v", "-q -v score x.csv -o out.csv"),
        ("score x.csv -ovv", "score x.csv -ovv"),
        ("score x.csv -o -q", "score x.csv -o -q"),
        ("query --sql --store -q", "-q query --sql --store"),
        ("store compact --keep-runs 3 --store s", "--store s store compact --keep-runs 3"),
        ("score -- --store", "score -- --store"),
        ("score - -vv", "-v -v score -"),
        ("--store", "--store"),
        ("score --help", "score --help"),
        ("score x.csv --nothing -q", "-q score x.csv --nothing"),
    ],
)
def test_global_options_are_brought_to_the_front(given, meant):
    assert global_options_first(cli, given.split()) == meant.split()


def test_global_options_may_stand_anywhere(run):
    (Path.cwd() / "s.toml").write_text('[runs]\nlimit = "x"\n', "utf-8")
    assert "s.toml" in run("runs", "--config", "s.toml").err
    assert run("config", "--store", "there.duckdb", "show").out.count("there.duckdb") == 1
    assert run("config", "show", "--store", "there.duckdb").out.count("there.duckdb") == 1
    assert "s2.duckdb" in run("runs", "--store", "s2.duckdb").err


def test_an_expected_failure_is_one_line_on_stderr(run):
    done = run("score", "gone.csv")
    assert done.code == 66
    assert done.err == "finsent-batch: error: gone.csv does not exist: check the path\n"
    assert done.out == ""


def test_a_bug_keeps_its_traceback(tmp_path):
    program = (
        "import sys; from finsent_batch.jobs import cli\n"
        "import finsent_batch.queries.run as q; q.run_query = None\n"
        "sys.argv[1:] = ['runs']; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "TypeError" in done.stderr


# ---- logs


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["score", "gone.csv"], 66, "gone.csv does not exist: check the path"),
        (["runs", "--x"], 2, "No such option '--x'; see finsent-batch runs --help"),
        (
            ["query", "x", "--param", "y"],
            2,
            "Invalid value for --param: 'y' is not KEY=VALUE; see finsent-batch query --help",
        ),
    ],
)
def test_json_log_lines_of_failures(run, arguments, code, message):
    done = run("--log-format", "json", *arguments)
    assert done.code == code
    [line] = [json.loads(line) for line in done.err.splitlines()]
    assert line["level"] == "error"
    assert line["logger"] == "finsent_batch"
    assert line["message"] == message
    assert datetime.fromisoformat(line["time"]).tzinfo is not None


def test_logs_and_summary_of_a_run_are_json_each_on_its_own_stream(run, feed, tiny_model):
    arguments = ["--model", tiny_model, "--weights", "fp32", "--summary", "json"]
    done = run("--log-format", "json", "-vv", "score", "feed.parquet", *arguments)
    assert done.code == 0, done.err
    assert done.json["status"] == "done"
    assert done.out.count("\n") == 1
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert any("planned: 12 rows, 8 to score" in line["message"] for line in lines)


def test_quiet_and_verbose(run, feed, tiny_model):
    arguments = ["score", "feed.parquet", "--model", tiny_model, "--weights", "fp32"]
    assert run(*arguments).err == ""
    assert "finsent-batch: planned: 12 rows, 0 to score\n" in run("-v", *arguments).err
    more = run(*arguments, "-vv").err
    assert "finsent-batch: debug: planned " in more
    assert "feed.parquet: 12 rows, headlines in 'headline'\n" in more
    assert "finsent-batch: planned: 12 rows, 0 to score\n" in more
    assert "Nokia" not in more
    quiet = run(*arguments, "-q")
    assert (quiet.out, quiet.err) == ("", "")
    assert run("-q", "score", "gone.csv").err.startswith("finsent-batch: error: gone.csv")


# ---- streams that end


@pytest.mark.parametrize("format_", ["csv", "json", "table"])
def test_a_reader_that_has_had_enough_is_no_failure(tmp_path, published, format_):
    arguments = ["query", "labelled", "--from", published, "--param", "limit=1500"]
    with subprocess.Popen(
        [COMMAND, *arguments, "--format", format_],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_io_error(tmp_path, published):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, "query", "label_mix", "--from", published],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 74
    assert done.stderr.startswith("finsent-batch: error: No space left on device")
