"""What this machine can compute with, told without importing torch.

A night in which every headline is already scored never loads a model; it must
still know which device and arithmetic the model would have had, because they
are part of the fingerprint.
"""

import os
import platform
from functools import cache
from pathlib import Path

from .errors import UnavailableError, UsageError

# Dense weights, their folding and a batch of activations fit where memory is this many times the
# base's files: 24 GB and more for 7 billion parameters in two bytes each.
_ROOM = 1.75
_NVIDIA_NODES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")


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
    """Return whether torch can use an NVIDIA GPU here; torch is asked only if one is present."""
    if not any(Path(node).exists() for node in _NVIDIA_NODES):
        return False
    import torch

    return torch.cuda.is_available()


def gpu_count() -> int:
    """Return how many GPUs torch sees here; 0 without asking it where there is no NVIDIA one."""
    if not cuda_available():
        return 0
    import torch

    return torch.cuda.device_count()


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


def classifier_weights(wanted: str, device: str, *, int8_able: bool) -> str:
    """Return the arithmetic of a sequence classifier: `fp32`, `bf16` or `int8`.

    `auto` takes the fastest that keeps the labels: bf16 on a GPU; on a CPU int8
    where it has the VNNI instructions and the model is `int8_able`, else bf16
    where the CPU computes in it, else fp32.

    Raises:
        UsageError: an arithmetic that this model does not run in.
        UnavailableError: int8 where the device is no CPU with VNNI.
    """
    flags = cpu_flags()
    vnni = bool(flags & {"avx512_vnni", "avx_vnni"})
    if wanted == "auto":
        if device == "cuda":
            return "bf16"
        if vnni and int8_able:
            return "int8"
        return "bf16" if flags & {"avx512_bf16", "amx_bf16"} else "fp32"
    if wanted not in ("fp32", "bf16", "int8"):
        raise UsageError(
            f"--weights {wanted}: a sequence classifier runs in fp32, bf16 or int8 (or auto)"
        )
    if wanted == "int8" and not int8_able:
        raise UsageError("--weights int8 needs a BERT model; use auto")
    if wanted == "int8" and (device != "cpu" or not vnni):
        raise UnavailableError(
            f"--weights int8 needs a CPU with VNNI instructions, which this {device} is not: "
            "use auto"
        )
    return wanted


def causal_weights(wanted: str, device: str, *, quantised: bool, size: int) -> str:
    """Return how a causal model's weights are kept: `nf4`, `bf16`, `fp8` or `fp32`.

    `quantised` says that the weights are 4-bit ones; `size` is that of the base's
    files, in bytes. `auto` keeps 4-bit weights so on a CPU and on a GPU without
    room for them unpacked, which is faster; other weights are bf16 on a GPU, fp32
    on a CPU.

    Raises:
        UsageError: an arithmetic that causal models do not run in.
        UnavailableError: this device cannot.
    """
    if wanted == "auto":
        if device == "cpu":
            return "nf4" if quantised else "fp32"
        roomy = gpu_memory() >= _ROOM * size
        return "bf16" if roomy or not quantised else "nf4"
    if wanted not in ("nf4", "bf16", "fp8", "fp32"):
        raise UsageError(f"--weights {wanted}: a causal model runs in nf4, bf16, fp8 or fp32")
    if wanted == "nf4" and not quantised:
        raise UsageError(
            "--weights nf4: this adapter was trained on a base that was not quantised; use auto"
        )
    if wanted == "fp8" and (device == "cpu" or gpu_capability() < (8, 9)):
        raise UnavailableError(
            f"--weights fp8 needs a GPU of compute capability 8.9 or later (Ada, Hopper); this "
            f"{device} is none: use auto"
        )
    return wanted


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
