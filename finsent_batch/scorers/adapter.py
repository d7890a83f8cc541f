"""A LoRA adapter as peft saves it, read for folding."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..errors import BadDataError, ConfigError
from ..models.bases import read_json

# What would change the arithmetic in ways that folding B @ A does not cover.
_UNKNOWN = ("use_dora", "modules_to_save", "layers_pattern", "rank_pattern", "alpha_pattern")
_PREFIX = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """What an adapter adds to one layer: B @ A times `scale`."""

    a: torch.Tensor
    """(rank, in)"""
    b: torch.Tensor
    """(out, rank)"""
    scale: float


def read_adapter(folder: Path, linears: dict[str, Any], base: str) -> dict[str, LowRank]:
    """Return the adapter's parts by the name of the layer they belong to.

    `linears` are the base's linear layers by name, `base` is what messages call it.
    Method: LoRA (Hu et al. 2021); rank-stabilised scaling (Kalajdzievski 2023)
    where the adapter says so.

    Raises:
        ConfigError: keys are missing or left over, shapes differ, or the adapter is
            of a kind that cannot be folded.
    """
    config = read_json(folder / "adapter_config.json")
    unknown = [name for name in _UNKNOWN if config.get(name)]
    if unknown or config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        raise ConfigError(
            f"{folder}: the adapter is no plain LoRA ({', '.join(unknown) or 'peft_type, bias'}): "
            "train one with finsent-batch train"
        )
    rank = int(config["r"])
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    tensors = _tensors(folder / "adapter_model.safetensors")
    targets = _targets(config.get("target_modules"), linears)
    expected = {f"{_PREFIX}{name}.lora_{part}.weight" for name in targets for part in "AB"}
    if expected != set(tensors):
        differing = sorted(expected ^ set(tensors))
        what = "lacks" if differing[0] in expected else "has left over"
        raise ConfigError(
            f"{folder}: the adapter does not fit the base {base}: it {what} {differing[0]} "
            f"({len(differing)} keys differ)"
        )
    found = {}
    for name in targets:
        a, b = (tensors[f"{_PREFIX}{name}.lora_{part}.weight"] for part in "AB")
        layer = linears[name]
        if a.shape[1] != layer.in_features or b.shape[0] != layer.out_features:
            raise ConfigError(
                f"{folder}: the adapter does not fit the base {base}: {name} is "
                f"{layer.out_features} x {layer.in_features} there, {b.shape[0]} x {a.shape[1]} "
                "here"
            )
        found[name] = LowRank(a=a, b=b, scale=scale)
    return found


def _targets(wanted: Any, linears: dict[str, Any]) -> list[str]:
    """Return the names of the layers that an adapter's `target_modules` mean."""
    names = [wanted] if isinstance(wanted, str) else list(wanted or [])
    if names == ["all-linear"]:
        return list(linears)
    return [name for name in linears if any(name == n or name.endswith(f".{n}") for n in names)]


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadDataError(f"{file} cannot be read ({error}): restore it") from None
