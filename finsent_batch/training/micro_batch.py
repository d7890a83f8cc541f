"""Cut the effective batch of a training into micro-batches that fit into memory.

The effective batch is the recipe; how it is cut is the machine's business.
"""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import UsageError
from ..train_config import TrainConfig
from .causal_dataset import filled_up, row_places

_UNITS = {"MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}
# Bytes of activations kept for the backward pass, per token and layer, for each unit of hidden and
# of intermediate size, in bf16: what a Llama layer with LoRA on all linear layers holds (inputs of
# the linear layers and of the adapters' dropouts, norms, attention, SwiGLU). Counted on Llama 2's
# and Qwen 2's shapes; for a token of the vocabulary, its logit in two dtypes and two gradients.
_BYTES_HIDDEN, _BYTES_INTERMEDIATE = 46, 7
_BYTES_LOGIT = 12
# Of these, queries, keys, values and what attention gives.
_BYTES_ATTENTION = 8
# With checkpointing a layer keeps its input alone, and one layer at a time all of the above.
_BYTES_CHECKPOINTED = 2
# Recorded steps have memory of their own, besides that of the first step of a shape.
_RECORDED = 2
# Bytes of a trained parameter besides its own: the gradient, where recorded steps add it up,
# and Adam's two moments.
_BYTES_TRAINED = 16
_RESERVE = 0.9


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """One forward and backward pass: rows, how many make a step, and whether it recomputes."""

    size: int
    accumulation: int
    checkpointing: bool
    unpacked: bool = False
    """Whether memory also holds the 4-bit layers' weights unpacked, for the whole training."""


def micro_batch(
    config: TrainConfig,
    model: Any,
    tokens: int,
    budget: int | None,
    *,
    shared: int = 0,
    processes: int = 1,
    recorded: bool = False,
) -> MicroBatch:
    """Return the largest micro-batch of the effective batch that fits, preferring no recomputing.

    `tokens` is the longest row's, of which `shared` are computed once for all rows of a
    micro-batch; `budget` the bytes that activations may take, None
    where memory is no question (a CPU). Of several `processes` each takes its share
    of the effective batch, which stays the recipe's. Steps that are to be `recorded`
    as CUDA graphs hold their activations twice, unless they recompute them: those
    are not recorded.

    Raises:
        UsageError: the effective batch cannot be shared among the processes.
    """
    size, accumulation = _share(config, processes)
    if not config.auto_batch:
        return MicroBatch(
            size=size, accumulation=accumulation, checkpointing=config.gradient_checkpointing
        )
    effective = size * accumulation
    if budget is None:
        return MicroBatch(size=effective, accumulation=1, checkpointing=False)
    divisors = [n for n in range(effective, 0, -1) if effective % n == 0]
    for checkpointing in (False, True):
        for n in divisors:
            total = n * (tokens - shared) + shared
            if recorded and not checkpointing:
                total = filled_up(total)
            places = row_places(n, tokens - shared, shared) if shared else 0
            needed = activation_bytes(model, total, places, checkpointing=checkpointing)
            spare = budget - needed * (_RECORDED if recorded and not checkpointing else 1)
            if spare >= 0:
                return MicroBatch(
                    size=n,
                    accumulation=effective // n,
                    checkpointing=checkpointing,
                    unpacked=0 < unpacked_bytes(model) <= spare,
                )
    return MicroBatch(size=1, accumulation=effective, checkpointing=True)


def _share(config: TrainConfig, processes: int) -> tuple[int, int]:
    """Return one process's largest micro-batch within the one asked for, and how many of it."""
    size, accumulation = config.per_device_train_batch_size, config.gradient_accumulation_steps
    share, rest = divmod(size * accumulation, processes)
    if rest:
        raise UsageError(
            f"the effective batch is {size} x {accumulation}, which {processes} processes cannot "
            "share evenly: start another number of them, or change the batch size"
        )
    size = max(n for n in range(1, size + 1) if share % n == 0)
    return size, share // size


def activation_bytes(model: Any, tokens: int, places: int = 0, *, checkpointing: bool) -> int:
    """Return an upper estimate of what a forward pass keeps for its backward pass.

    `places` are those of the rows that a packed batch attends in, which may be more than tokens.
    """
    config = model.config
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    layer = tokens * (hidden * _BYTES_HIDDEN + inner * _BYTES_INTERMEDIATE)
    layer += max(0, places - tokens) * hidden * _BYTES_ATTENTION
    logits = tokens * config.vocab_size * _BYTES_LOGIT
    if not checkpointing:
        return int(layer * config.num_hidden_layers + logits)
    kept = tokens * hidden * _BYTES_CHECKPOINTED * config.num_hidden_layers
    return int(kept + layer + logits)


def unpacked_bytes(model: Any) -> int:
    """Return the bytes of a model's 4-bit weights in 16 bits."""
    states = (getattr(p, "quant_state", None) for p in model.parameters())
    return sum(2 * state.shape.numel() for state in states if state is not None)


def activation_budget(config: TrainConfig, model: Any) -> int | None:
    """Return the bytes free for activations on the GPU, within `memory_budget`; None on a CPU.

    `model` is there already, with its adapter; what training adds to that is left free.

    Raises:
        UsageError: `memory_budget` does not parse, with a GPU or without.
    """
    allowed = None if config.memory_budget is None else parse_size(config.memory_budget)
    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    if allowed is not None:
        free = min(free, allowed - torch.cuda.memory_allocated())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return max(0, int((free - trained * _BYTES_TRAINED) * _RESERVE))


@contextmanager
def limited_memory(config: TrainConfig) -> Iterator[None]:
    """Limit PyTorch to `memory_budget` of the GPU's memory."""
    if config.memory_budget is None or not torch.cuda.is_available():
        yield
        return
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, parse_size(config.memory_budget) / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def release_memory() -> None:
    """Free a trained model's GPU memory, before the model is loaded again as `score` loads it."""
    gc.collect()  # a trainer and its model refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def parse_size(text: str) -> int:
    """Return the bytes of a size such as 16GB.

    Raises:
        UsageError: it does not parse.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([MG]i?B)\s*", text, re.IGNORECASE)
    if not match or not float(match[1]):
        raise UsageError(f"memory budget {text!r}: write a number and MB or GB, such as 16GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])
