"""What is done ahead of loading a model on a GPU."""

import subprocess
import sys

import pytest

AHEAD = """
import sys, threading
from dataclasses import replace
from finsent_batch.config import ModelConfig
from finsent_batch.models.directory import open_configured
from finsent_batch.scorers.load import import_ahead
from finsent_batch.models.weight_files import FileHashes

config = ModelConfig(model="mini", device="cpu")
model = open_configured(config).resolve(config, FileHashes())
import_ahead(model)
assert threading.active_count() == 1 and "torch" not in sys.modules
import_ahead(replace(model, device="cuda"))
[thread] = [t for t in threading.enumerate() if t.name == "import"]
thread.join()
print("finsent_batch.scorers.encoder.scorer" in sys.modules, "torch" in sys.modules)
"""


def test_a_gpus_imports_begin_in_a_thread_which_fails_silently():
    """This machine may have no GPU to start: that is no business of whoever plans."""
    done = subprocess.run([sys.executable, "-c", AHEAD], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
    assert "Traceback" not in done.stderr


EARLY = """
import sys
import finsent_batch.jobs.score as command
from finsent_batch.jobs.start import main

command.driver_gpus = lambda: 1
sys.argv = ["finsent-batch", "score", "missing.csv", "--device", sys.argv[1]]
started = command.Thread
command.Thread = lambda **given: print("ahead", file=sys.stderr) or started(**given)
main()
"""


@pytest.mark.parametrize(("device", "ahead"), [("auto", True), ("cpu", False)])
def test_a_command_that_is_refused_ends_as_ever_while_torch_is_imported(tmp_path, device, ahead):
    done = subprocess.run(
        [sys.executable, "-c", EARLY, device], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 66
    said = [line for line in done.stderr.splitlines() if line != "ahead"]
    assert said == ["finsent-batch: error: missing.csv does not exist: check the path"]
    assert ("ahead" in done.stderr.splitlines()) == ahead


HALF = """
import importlib.util, sys
from finsent_batch.pipeline.summary import Summary

torch = importlib.util.module_from_spec(importlib.util.find_spec("torch"))
torch.__spec__._initializing = True  # as it is in the middle of its import
torch.cuda = None
sys.modules["torch"] = torch
summary = Summary(run_id="r", input="i", model="m", promoted=False, model_fingerprint="f")
summary.measure_memory()
print(summary.peak_rss_mb > 0, summary.peak_vram_mb)
"""


def test_memory_is_measured_while_torch_is_being_imported():
    done = subprocess.run([sys.executable, "-c", HALF], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "None"]
