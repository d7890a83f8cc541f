"""The short form of benchmarks/fault_sweep.py: operations that are the last, or fail."""

import json
import shutil
import subprocess
import sys

import pytest

from ..conftest import REPOSITORY


@pytest.mark.skipif(shutil.which("gcc") is None, reason="the library of faults is compiled")
def test_the_nth_file_operation_is_the_last_or_fails(tmp_path):
    sweep = REPOSITORY / "benchmarks" / "fault_sweep.py"
    options = ["--commands", "query,prepare,store compact", "--every", "6"]
    done = subprocess.run(
        [sys.executable, sweep, *options, "--results", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    text = (tmp_path / "fault_sweep.json").read_text()
    assert "store compact" in text
    assert json.loads(text)
