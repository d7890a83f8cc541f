"""How fast a GPU should score, told from the speed of its matrix products."""

import time
from typing import Any, Final

import torch

from .causal import decoder_linears

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
