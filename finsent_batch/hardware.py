"""Detect this machine's cores, memory and GPUs, mostly without importing torch.

A night in which every headline is already scored never loads a model; it must
still know which device and arithmetic the model would have had, because they
are part of the fingerprint.
"""

import ctypes
import os
import platform
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UnavailableError, UsageError

if TYPE_CHECKING:
    import torch

_NVIDIA_NODES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")
_DRIVER = "libcuda.so.1"


@cache
def cpu_flags() -> frozenset[str]:
    """Return the CPU's feature flags as Linux names them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((ln.split(":")[1] for ln in lines if ln.startswith("flags")), "").split())


def cpu_model() -> str:
    """Return the CPU's name for reports."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((ln.split(":")[1].strip() for ln in lines if ln.startswith("model name")), "CPU")


_share: int | None = None


def limit_cores(cores: int) -> None:
    """Let this process take only so many cores: it shares the machine with others like it."""
    global _share
    _share = cores
    # Read by the tokenizers when they start their threads.
    os.environ["RAYON_NUM_THREADS"] = str(cores)


def available_cores() -> int:
    """Return the number of CPU cores this process may use."""
    all_cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        all_cores = len(os.sched_getaffinity(0))
    return min(_share or all_cores, all_cores)


@cache
def cuda_available() -> bool:
    """Return whether torch can use an NVIDIA GPU here; it is imported only to settle a doubt."""
    if not any(Path(node).exists() for node in _NVIDIA_NODES):
        return False
    if torch_if_loaded() is None and driver_gpus():
        return True
    import torch

    return torch.cuda.is_available()


@cache
def gpu_count() -> int:
    """Return how many GPUs torch sees here; it is imported only to settle a doubt."""
    if not cuda_available():
        return 0
    if torch_if_loaded() is None and (count := driver_gpus()):
        return count
    import torch

    return torch.cuda.device_count()


def torch_if_loaded() -> Any:
    """Return torch where all of it is imported, else None: a thread may be in the middle of it."""
    torch = sys.modules.get("torch")
    half = getattr(getattr(torch, "__spec__", None), "_initializing", False)
    return None if half else torch


@cache
def driver_gpus() -> int | None:
    """Ask NVIDIA's driver how many GPUs a process sees; None unless torch is sure to use them.

    That is a build of torch for a CUDA no newer than the driver: within one major version any
    runs on any (CUDA's minor version compatibility).
    """
    if not any(Path(node).exists() for node in _NVIDIA_NODES):
        return None
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    try:
        told = Path(spec.submodule_search_locations[0], "version.py").read_text("utf-8")
        built = re.search(r"^cuda\b.*= *['\"](\d+)\.", told, re.MULTILINE)
        driver = ctypes.CDLL(_DRIVER)
        version, count = ctypes.c_int(), ctypes.c_int()
        failed = (
            driver.cuInit(0)
            or driver.cuDriverGetVersion(ctypes.byref(version))
            or driver.cuDeviceGetCount(ctypes.byref(count))
        )
    except (OSError, AttributeError):
        return None
    if failed or built is None or version.value // 1000 < int(built[1]):
        return None
    return count.value or None


def resolve_device(wanted: str) -> str:
    """Turn `auto`, `cpu` or `cuda` into `cpu` or `cuda`.

    Raises:
        UnavailableError: `cuda` was asked for and is not there.
        UsageError: another word.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {wanted!r}: auto, cpu or cuda")
    if wanted == "cuda" and not cuda_available():
        raise UnavailableError(
            "--device cuda: torch finds no CUDA GPU here; run finsent-batch doctor, or use auto"
        )
    return "cuda" if wanted != "cpu" and cuda_available() else "cpu"


def main_memory() -> int:
    """Return this machine's main memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gpu_memory() -> int:
    """Return the bytes of the first GPU's memory that this process may take: all, without a limit.

    Not what is free: answers would depend on who else is there.
    """
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    return int(total * torch.cuda.get_per_process_memory_fraction(0))


def gpu_capability() -> tuple[int, int]:
    """Return the first GPU's compute capability, such as (9, 0) for Hopper."""
    import torch

    return torch.cuda.get_device_capability(0)


def kernels_usable(tensor: "torch.Tensor") -> bool:
    """Return whether the Triton kernels for packed batches take this tensor."""
    import torch

    return (
        tensor.is_cuda
        and tensor.dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(tensor.device) >= (8, 0)
    )
