"""How much memory the weights of a causal model take, told from its configuration alone."""

from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from . import FROM_DISK
from .causal import decoder_linears

LLAMA_2_7B: Final = LlamaConfig()
"""transformers' default has its shape."""
# Bytes a weight: 4 bits, and its block of 64's scale, itself in 8 bits (QLoRA's double
# quantisation, Dettmers et al. 2023).
_NF4_BYTES = 0.5 + 0.127 / 8
_BYTES: Final = {"nf4": (_NF4_BYTES, 2), "fp8": (1, 2), "bf16": (2, 2), "fp32": (4, 4)}
"""By `--weights`: bytes of a weight in the decoder's linear layers, and of any other."""


def weight_bytes(model: Any) -> dict[str, int]:
    """Return the bytes of a causal model's weights by `--weights`, without an adapter.

    An adapter is folded in, but for `nf4`, where it stays beside the weights.
    """
    linear = sum(layer.weight.numel() for layer in decoder_linears(model).values())
    other = sum(parameter.numel() for parameter in model.parameters()) - linear
    return {name: int(linear * a + other * b) for name, (a, b) in _BYTES.items()}


def empty_model(base: LlamaConfig | Path) -> Any:
    """Return the model of a configuration without its weights."""
    config = AutoConfig.from_pretrained(base, **FROM_DISK) if isinstance(base, Path) else base
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)
