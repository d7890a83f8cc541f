"""Estimate which models fit on a GPU and how fast they should run, without running them."""

import time
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from ..models.base_weights import FROM_DISK
from .causal.load import decoder_linears

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


SHARES: Final = {"nf4": 0.90, "bf16": 0.93, "fp8": 0.73}
"""Share of the products' own speed that scoring reaches, by `--weights`.

Measured on an H200 by benchmarks/llama_throughput.py; fp8's with its near-ties again in bf16.
"""
HEADLINE_TOKENS: Final = 38
"""Tokens of a PhraseBank headline with its closing bracket, on average; Llama 2's tokenizer."""
_SIZE = 8192


def expected_rates(model: Any, operations: dict[str, float]) -> dict[str, float]:
    """Return headlines/s by `--weights` for products at `operations[weights]` a second."""
    linear = sum(layer.weight.numel() for layer in decoder_linears(model).values())
    needed = 2 * linear * HEADLINE_TOKENS
    return {name: SHARES[name] * speed / needed for name, speed in operations.items()}


def product_speeds(device: str, *, fp8: bool, seconds: float = 1.0, size: int = _SIZE) -> Any:
    """Return floating-point operations a second of large products, by `--weights`.

    Each kind runs for `seconds`: GPUs lower their clocks under load.
    """
    x = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    bf16 = _speed(lambda: x @ x, size, seconds, device)
    speeds = {"nf4": bf16, "bf16": bf16}
    if fp8:
        y, one = x.to(torch.float8_e4m3fn), torch.ones(size, 1, device=device)
        speeds["fp8"] = _speed(
            lambda: torch._scaled_mm(
                y,
                y.t(),
                scale_a=one,
                scale_b=one.t(),
                out_dtype=torch.bfloat16,
                use_fast_accum=True,
            ),
            size,
            seconds,
            device,
        )
    return speeds


def _speed(product: Any, size: int, seconds: float, device: str) -> float:
    product()
    _wait(device)
    done, begun = 0, time.perf_counter()
    while (taken := time.perf_counter() - begun) < seconds:
        for _ in range(10):
            product()
        _wait(device)
        done += 10
    return float(done * 2 * size**3 / max(taken, 1e-9))


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
