"""The benchmarks of kills, faults and contention, in short: what they look for does not happen."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..helpers import forks

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# They set these and start themselves again where they do not find them.
FORKED = """
import os, runpy, sys
sys.path.insert(0, {folder!r})
from trials import SETTINGS
os.environ |= SETTINGS
sys.argv[0] = {script!r}
runpy.run_path({script!r}, run_name="__main__")
"""


def prove(name, results, *arguments, start=forks.run):
    """Run one of them, which exits with 1 if it finds anything; gives its rows by their first."""
    script = str(BENCHMARKS / f"{name}.py")
    program = ["-c", FORKED.format(folder=str(BENCHMARKS), script=script)]
    command = [sys.executable, *([script] if start is real else program), *arguments]
    done = start([*command, "--results", str(results)], text=True, cwd=results)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((results / f"{name}.json").read_text())["rows"]
    return {next(iter(row.values())): row for row in rows}


def real(command, **options):
    return subprocess.run(command, capture_output=True, check=False, env=os.environ, **options)


def test_kills(tmp_path):
    rows = prove(
        "kill_recovery", tmp_path, "--kills", "6", "--commands", "query,prepare,score to p"
    )
    assert rows["all"]["kills"] == 6


@pytest.mark.skipif(shutil.which("gcc") is None, reason="the library of faults is compiled")
def test_the_nth_file_operation_is_the_last_or_fails(tmp_path):
    """In a process of its own: the library of faults is loaded before the C library."""
    chosen = ("--every", "6", "--commands", "query,prepare,store compact,store import")
    rows = prove("fault_sweep", tmp_path, *chosen, start=real)
    assert {"query -o", "prepare", "store compact", "store import"} < set(rows)
    assert rows["all"]["faults"] >= 16


def test_two_writers_and_readers_on_one_output(tmp_path):
    rows = prove("shared_outputs", tmp_path, "--seconds", "8", "--outputs", "o.parquet")
    assert rows["all"]["runs"] >= 2
    assert rows["all"]["reads"] >= 2
