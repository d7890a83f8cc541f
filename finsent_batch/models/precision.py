"""Choose the precision that a model's weights run in, by machine and by request."""

from ..errors import UnavailableError, UsageError
from ..hardware import cpu_flags, gpu_capability, gpu_memory

# Dense weights, their folding and a batch of activations fit where memory is this many times the
# base's files: 24 GB and more for 7 billion parameters in two bytes each.
_ROOM = 1.75


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
            f"--weights int8 needs a CPU with VNNI instructions, which this {device} lacks: "
            "use auto"
        )
    return wanted


def causal_weights(wanted: str, device: str, *, quantized: bool, size: int) -> str:
    """Return how a causal model's weights are kept: `nf4`, `bf16`, `fp8` or `fp32`.

    `quantized` says that the weights are 4-bit ones; `size` is that of the base's
    files, in bytes. `auto` keeps 4-bit weights so on a CPU and on a GPU without
    room for them unpacked, which is faster; other weights are bf16 on a GPU, fp32
    on a CPU.

    Raises:
        UsageError: an arithmetic that causal models do not run in.
        UnavailableError: this device cannot.
    """
    if wanted == "auto":
        if device == "cpu":
            return "nf4" if quantized else "fp32"
        roomy = gpu_memory() >= _ROOM * size
        return "bf16" if roomy or not quantized else "nf4"
    if wanted not in ("nf4", "bf16", "fp8", "fp32"):
        raise UsageError(f"--weights {wanted}: a causal model runs in nf4, bf16, fp8 or fp32")
    if wanted == "nf4" and not quantized:
        raise UsageError(
            "--weights nf4: this adapter was trained on a base that was not quantized; use auto"
        )
    if wanted == "fp8" and (device == "cpu" or gpu_capability() < (8, 9)):
        raise UnavailableError(
            f"--weights fp8 needs a GPU of compute capability 8.9 or later (Ada, Hopper); this "
            f"{device} is not one: use auto"
        )
    return wanted
