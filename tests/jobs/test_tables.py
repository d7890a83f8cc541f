"""Tables: what fits a terminal is shown whole, what does not is left out and said to be."""

import os
import pty
import re
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from finsent_batch.jobs.tables.cells import column_of, cut, width_of
from finsent_batch.jobs.tables.formats import FORMATS, markdown_lines, print_rows, print_table
from finsent_batch.jobs.tables.layout import lay_out

from finsent_batch.config import StoreConfig
from finsent_batch.store.store import Store

from ..helpers.tables import read_table

ID = "01a21608-4ca2-716a-aba5-1c6533e64f45"
TIME = datetime(2014, 1, 6, 3, 0, 1, 500)
HEADLINE = "Nordkap lifts its guidance for the third time this year after a strong quarter"
PATH = "/home/anna/feeds/nightly/2014-01-06.parquet"
NAMES = ["started_at", "input", "rows", "a_long_name_of_a_share", "run_id", "headline"]
ROW = [TIME, PATH, 33422, 0.123456, ID, HEADLINE]


def lines(width, names=NAMES, rows=(ROW,), **options):
    columns = [column_of(name, [row[i] for row in rows]) for i, name in enumerate(names)]
    layout = lay_out(columns, width, **options)
    return [line for _, line in layout.lines()], layout


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200, 400])
def test_no_line_is_wider_than_the_terminal_and_no_time_or_id_is_cut(width):
    shown, layout = lines(width)
    assert max(map(width_of, shown)) <= width
    cells = " ".join(shown)
    for name, whole in zip(NAMES, ("2014-01-06 03:00:01", None, "33,422", "0.1235", ID, None),
                           strict=True):  # fmt: skip
        if whole is not None:
            assert (whole in cells) == (name not in layout.left_out)
    assert (HEADLINE in cells) == (width == 400)


def test_text_is_cut_at_its_end_and_a_path_at_its_beginning():
    shown, _ = lines(90, ["input", "headline"], [[PATH, HEADLINE]])
    assert "/2014-01-06.parquet" in shown[-1]
    assert "Nordkap lifts its" in shown[-1]
    assert shown[-1].endswith("…")
    assert shown[-1].startswith("…") or PATH in shown[-1]


def test_what_can_be_done_without_goes_first_then_the_middle():
    names = [f"c{i}" for i in range(12)]
    _, layout = lines(60, names, [[ID[:8]] * 12], dispensable=("c3", "c0"))
    assert set(layout.left_out) >= {"c3", "c0"}
    _, layout = lines(60, names, [[ID[:8]] * 12])
    assert layout.columns[0].name == "c0"
    assert layout.columns[-1].name == "c11"
    assert "…" in [c.name for c in layout.columns]
    assert len(layout.left_out) == 12 - len(layout.columns) + 1


def test_wide_characters_count_twice():
    shown, _ = lines(30, ["a", "b"], [["深圳" * 20, 1], ["x", 2]])
    assert max(map(width_of, shown)) <= 30
    assert width_of(cut("深圳深圳", 5)) <= 5


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([2014, None], ("2014", "–")),
        ([33422, 5], ("33,422", "5")),
        ([-1234567], ("-1,234,567",)),
        ([0.5, 0.25], ("0.50", "0.25")),
        ([3.0, 4.0], ("3", "4")),
        ([10, 9, -0.069, 0.917], ("10", "9", "-0.069", "0.917")),
        ([27.866, 7.5], ("27.866", "7.500")),
        ([1e-9, 2e-9], ("1e-09", "2e-09")),
        ([1e9, 0.001], ("1,000,000,000", "0.001")),
        ([float("nan"), 1.5], ("nan", "1.5")),
        ([True, False, None], ("true", "false", "–")),
        ([Decimal("1.50"), Decimal("22.25")], ("1.50", "22.25")),
        (["2014-01-06 03:00:01+00"], ("2014-01-06 03:00:01+00",)),
        ([TIME], ("2014-01-06 03:00:01",)),
        (["a\x1b[2J\nb"], ("a\\x1b[2J\\nb",)),
    ],
)
def test_values_as_they_are_shown(values, cells):
    assert column_of("x", values).cells == cells


def test_every_format_of_rows_says_the_same(capsys, monkeypatch):
    rows = [[TIME, 0.1234567890123, None, True, "a|b,c\nd"], [None, 2.0, 5, False, 'q"']]
    names = ["time", "share", "count", "sure", "text"]
    said = {}
    for format_ in FORMATS:
        print_rows(names, rows, format_)
        said[format_] = capsys.readouterr().out
    assert "0.1235" in said["table"]
    for exact in ("csv", "json", "jsonl", "markdown"):
        assert "0.1234567890123" in said[exact]
        assert "2014-01-06 03:00:01.000500" in said[exact]
    assert '"count": null, "sure": true' in said["json"]
    assert len(said["jsonl"].splitlines()) == 2
    assert list(markdown_lines(names, rows))[2].count(" | ") == 4
    print_rows(names, [], "json")
    assert capsys.readouterr().out == "[]\n"


def test_a_table_into_a_pipe_is_as_wide_as_columns_says(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    print_table(NAMES, [ROW])
    out = capsys.readouterr().out
    assert max(map(width_of, out.splitlines())) <= 70
    assert "columns fit" in out or "no room for" in out


@pytest.fixture
def night_runs(tmp_path):
    """A store with forty runs, some of which began in the same second."""
    with Store.open(StoreConfig(path=tmp_path / "finsent.duckdb")) as store:
        for number in range(40):
            run_id = f"01a21608-4ca{number:01x}-716a-aba5-1c6533e64f45"[:13] + f"-716a-{number:04}"
            store.insert(
                "runs",
                {"run_id": run_id, "status": "done", "started_at": TIME, "model": "mini",
                 "input": PATH, "rows_read": 3300 + number, "seconds": 7.5},
            )  # fmt: skip


@pytest.mark.parametrize("columns", ["80", "120", "200"])
def test_runs_are_a_line_each_with_an_id_that_report_takes(run, night_runs, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    done = run("runs", "--format", "table")
    rows = read_table(done.out)
    assert len(rows) == 20
    for row in rows[:3]:
        assert row["started_at"] == "2014-01-06 03:00:01"
        report = run("report", "--run", row["run_id"], "--format", "json")
        assert report.code == 0, report.err
    assert max(map(len, done.out.splitlines())) <= int(columns)


@pytest.mark.parametrize("command", [["runs"], ["models"], ["doctor"], ["config", "show"]])
def test_lists_go_into_a_pipe_as_csv_and_as_json_when_asked(run, night_runs, command):
    done = run(*command)
    assert done.code == 0
    head, *rows = done.out.splitlines()
    objects = run(*command, "--format", "json").json
    assert head == ",".join(objects[0])
    assert len(rows) >= len(objects)
    assert run(*command, "--format", "markdown").out.startswith("| ")


def on_a_terminal(command, folder, size=(24, 80), **variables):
    """Run a command with a terminal as standard input, output and error; return what it shows."""
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    program = [str(Path(sys.executable).parent / "finsent-batch"), *command]
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        program, stdin=follower, stdout=follower, stderr=follower, cwd=folder,
        env={**environment, "TERM": "xterm", **variables},
    ) as process:  # fmt: skip
        os.close(follower)
        said = b""
        while True:
            try:
                part = os.read(leader, 1 << 16)
            except OSError:  # the last one has closed the terminal
                break
            if not part:
                break
            said += part
    os.close(leader)
    return process.returncode, re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", said.decode()).replace("\r", "")


def test_a_terminal_gets_a_table_and_a_long_one_by_the_pager(night_runs, tmp_path):
    code, shown = on_a_terminal(["runs", "--limit", "3"], tmp_path, PAGER="sed s/^/paged:/")
    assert code == 0, shown
    assert len(read_table(shown)) == 3
    assert "paged:" not in shown
    code, shown = on_a_terminal(["runs", "--limit", "30"], tmp_path, PAGER="sed s/^/paged:/")
    assert code == 0, shown
    assert shown.count("paged:") >= 32
