"""What people see is clean: nothing that others wrote reaches the terminal as a command."""

import json
import re

import polars as pl
import pytest

from finsent_batch.visible import visible, visible_json, visible_line

HIDDEN = "\x00\x07\x08\x1b\x7f\x85\x9b\u061c\u200e\u202e\u2066\u2069\u2028\ufeff"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
HOSTILE = f"oil \x1b[2J\x1b]0;gone\x07 rises {HIDDEN[1:]} \u202eflac"


def test_every_control_is_an_escape_and_the_rest_stays():
    assert not RAW.search(visible(HIDDEN))
    assert visible("\x1b[2J") == "\\x1b[2J"
    assert visible("\u202e") == "\\u202e"
    assert visible("Ölpreis\tfällt\n深圳 ↑") == "Ölpreis\tfällt\n深圳 ↑"
    assert visible_line("a\tb\nc") == "a\\tb\\nc"
    text = json.dumps({"a": HIDDEN}, ensure_ascii=False)
    assert not RAW.search(visible_json(text))
    assert json.loads(visible_json(text)) == {"a": HIDDEN}


@pytest.fixture
def scored(run, tiny_model, tmp_path):
    name = "f\x1b[31m\u202e.parquet"
    pl.DataFrame({"headline": [HOSTILE, "oil falls"], "x\x1b[1m": [1, 2]}).write_parquet(
        tmp_path / name
    )
    done = run("-v", "score", name, "-o", "o\x1b.parquet", "--model", tiny_model,
               "--weights", "fp32")  # fmt: skip
    assert done.code == 0, done.err
    assert not RAW.search((done.out + done.err).replace("\n", ""))
    return tmp_path / "o\x1b.parquet"


@pytest.mark.parametrize(
    "command",
    [
        ("query", "most_positive", "--format", "table"),
        ("query", "--sql", "FROM scored_headlines", "--format", "table"),
        ("query", "--sql", "SELECT chr(27) || '[2J' AS \"\x1b[2J\"", "--format", "table"),
        ("runs", "--format", "table"),
        ("models", "--format", "table"),
        ("runs", "--format", "markdown"),
        ("report",),
        ("report", "--format", "md"),
        ("score", "no\x1b[2J\u202e.parquet"),
        ("query", "no\x1b[2J"),
        ("--log-format", "json", "score", "no\x1b[2J\x9b.parquet"),
    ],
)
def test_no_command_lets_them_through(run, scored, command):
    done = run(*command)
    assert not RAW.search((done.out + done.err).replace("\n", "")), command


def test_a_line_stays_one_whatever_a_name_holds(run, tmp_path, tiny_model):
    pl.DataFrame({"headline": ["Oil falls"], "sentiment": [1]}).write_csv(tmp_path / "a\nb.csv")
    options = ("--model", tiny_model, "--weights", "fp32", "--replace-columns")
    done = run("-v", "score", "a\nb.csv", "-o", "c\nd.parquet", *options)
    assert done.code == 0, done.err
    [wrote] = [line for line in done.out.splitlines() if "d.parquet" in line]
    assert wrote.startswith("wrote ")
    assert "c\\nd.parquet" in done.out.splitlines()[-1]
    assert all(line.startswith("finsent-batch: ") for line in done.err.splitlines())
    done = run("query", "label_mix", "--from", "c\nd.parquet", "-o", "e\nf.csv")
    assert (done.code, done.err.count("\n")) == (0, 0), done.err
    for arguments in (("score", "no\nfile.csv"), ("--store", "no\nstore.duckdb", "runs")):
        assert run(*arguments).err.count("\n") == 1


def test_machine_formats_stay_exact(run, scored):
    done = run("query", "--sql", "SELECT headline FROM scored_headlines", "--format", "json")
    assert done.json[0]["headline"] == HOSTILE


def test_a_message_quotes_no_headline(run, tmp_path):
    frame = pl.DataFrame({"headline": ["Secret deal falls"], "label": ["negative"]})
    for split in ("train", "valid", "test"):
        (tmp_path / "split").mkdir(exist_ok=True)
        frame.write_parquet(tmp_path / "split" / f"{split}.parquet")
    done = run("train", "--data", "split", "-o", "m", "--preset", "mini")
    assert done.code == 65
    assert "row 1 of" in done.err
    assert "Secret" not in done.err
