"""GPUs as the driver tells of them: torch, which takes seconds to import, settles doubts alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the driver is compiled")

DRIVER = """
int cuInit(unsigned flags) {{ return {failing}; }}
int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}
int cuDeviceGetCount(int *count) {{ *count = {count}; return 0; }}
"""

ASK = """
import importlib.util, sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from finsent_batch import hardware

driver, package = sys.argv[1:]
hardware._NVIDIA_NODES = (driver,)
hardware._DRIVER = driver
found = ModuleSpec("torch", None, is_package=True)
found.submodule_search_locations = [package]
hardware.find_spec = {"torch": found}.get
available, count = hardware.cuda_available(), hardware.gpu_count()
print(available, count, "torch" in sys.modules)
"""


def asked(
    tmp_path: Path, built: str, *, version: int = 13000, count: int = 2, failing: int = 0
) -> str:
    """Return whether a GPU is found, how many, and whether torch was asked."""
    (tmp_path / "version.py").write_text(f"__version__ = '2'\ndebug = False\n{built}\n")
    source, driver = tmp_path / "driver.c", tmp_path / "libcuda.so.1"
    source.write_text(DRIVER.format(version=version, count=count, failing=failing))
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", driver], check=True)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(driver), str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("version", [13000, 13020, 14000])
@pytest.mark.parametrize("built", ["cuda: Optional[str] = '13.0'", 'cuda = "12.8"'])
def test_a_driver_as_new_as_torchs_cuda_is_believed(tmp_path, built, version):
    assert asked(tmp_path, built, version=version) == "True 2 False"


@pytest.mark.parametrize(
    "doubt",
    [
        {"built": "cuda: Optional[str] = None"},
        {"built": "cuda = '13.0'", "version": 12080},
        {"built": "cuda = '13.0'", "count": 0},
        {"built": "cuda = '13.0'", "failing": 100},
        {"built": ""},
    ],
    ids=["no CUDA", "old driver", "no GPU", "driver fails", "no version"],
)
def test_in_doubt_torch_is_asked(tmp_path, doubt):
    """On a machine whose torch has a GPU of its own it would say so: the tests' has none."""
    said = asked(tmp_path, **doubt)
    assert said.endswith(" True")
    assert said.startswith("False 0") or torch.cuda.is_available()
