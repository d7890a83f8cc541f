"""What is done ahead of loading a model on a GPU."""

import subprocess
import sys

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


HALF = """
import sys, threading, types
from finsent_batch.pipeline.summary import Summary

sys.modules["torch"] = types.ModuleType("torch")  # as it is in the middle of its import
summary = Summary(run_id="r", input="i", model="m", promoted=False, model_fingerprint="f")
summary.measure_memory()
print(summary.peak_rss_mb > 0, summary.peak_vram_mb)
"""


def test_memory_is_measured_while_torch_is_being_imported():
    done = subprocess.run([sys.executable, "-c", HALF], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "None"]
