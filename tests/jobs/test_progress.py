"""What a terminal shows while a command works: each stage by its name, and its end."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from ..conftest import Result
from ..helpers.terminal import in_terminal

COMMAND = str(Path(sys.executable).parent / "finsent-batch")


def test_each_stage_of_score_has_its_name_and_an_end_at_80_columns(
    tmp_path: Path, wordy: Callable[[int], list[str]]
) -> None:
    pl.DataFrame({"headline": wordy(40)}).write_parquet(tmp_path / "news.parquet")
    code, lines = in_terminal([COMMAND, "score", "news.parquet"], tmp_path)
    assert code == 0, lines
    bars = [line for line in lines if re.search(r" \d:\d\d:\d\d$", line)]
    assert not any("?" in line for line in bars)
    assert max(map(len, bars)) <= 80
    last = bars[-5:]
    assert [line.split()[0] for line in last] == [
        "opening", "planning", "loading", "scoring", "publishing",
    ]  # fmt: skip
    assert "40/40" in last[3]


@pytest.mark.parametrize("option", [["-q"], []])
def test_a_pipe_or_a_quiet_run_shows_no_bar(
    tmp_path: Path, option: list[str], run: Callable[..., Result]
) -> None:
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "news.parquet")
    if option:
        code, lines = in_terminal([COMMAND, *option, "score", "news.parquet"], tmp_path)
        shown = "\n".join(lines)
    else:
        done = run("score", "news.parquet")
        code, shown = done.code, done.err
    assert code == 0, shown
    assert "planning" not in shown


def test_the_package_is_a_command_too(tmp_path: Path, run_process: Callable[..., Result]) -> None:
    import subprocess

    said = {
        tuple(
            subprocess.run(
                [*start, option], cwd=tmp_path, capture_output=True, text=True, check=True
            ).stdout
            for option in ("-V", "-h")
        )
        for start in ([COMMAND], [sys.executable, "-m", "finsent_batch"])
    }
    [(version, page)] = said
    assert version == run_process("--version").out
    assert page == run_process("--help").out
