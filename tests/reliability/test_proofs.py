"""The benchmarks of kills, faults and contention, in short: what they look for does not happen."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def prove(name, results, *arguments):
    """Run one of them, which exits with 1 if it finds anything; gives its rows by their first."""
    script = BENCHMARKS / f"{name}.py"
    done = subprocess.run(
        [sys.executable, script, *arguments, "--results", results], capture_output=True, text=True,
        cwd=results, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((results / f"{name}.json").read_text())["rows"]
    return {next(iter(row.values())): row for row in rows}


def test_kills(tmp_path):
    rows = prove(
        "kill_recovery", tmp_path, "--kills", "6", "--commands", "query,prepare,score to p"
    )
    assert rows["all"]["kills"] == 6


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_faults(tmp_path):
    chosen = ("--every", "12", "--commands", "query,store import")
    rows = prove("fault_sweep", tmp_path, *chosen)
    assert rows["all"]["faults"] >= 4


def test_two_writers_and_readers_on_one_output(tmp_path):
    rows = prove("shared_outputs", tmp_path, "--seconds", "8", "--outputs", "o.parquet")
    assert rows["all"]["runs"] >= 2
    assert rows["all"]["reads"] >= 2
