"""A LoRA adapter as peft saves it, read for folding."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from ...errors import BadDataError, ConfigError
from ...models.reading import read_json

# What would change the arithmetic in ways that folding B @ A does not cover.
_UNKNOWN = (
    "use_dora", "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out", "modules_to_save",
    "rank_pattern", "alpha_pattern", "layers_to_transform", "layer_replication",
    "target_parameters", "trainable_token_indices", "alora_invocation_tokens", "arrow_config",
    "kasa_config", "monteclora_config", "velora_config",
)  # fmt: skip
# Beginnings that leave the base's weights as they are; others, such as PiSSA, change them.
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")
_LARGEST_ALPHA: Final = 1e6
_PREFIX = "base_model.model."
_FOLD = (
    "fold it into its base with peft (merge_and_unload, save_pretrained) and name that directory"
)


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """What an adapter adds to one layer: B @ A times `scale`."""

    a: torch.Tensor
    """(rank, in)"""
    b: torch.Tensor
    """(out, rank)"""
    scale: float

    def to(self, device: torch.device, dtype: torch.dtype) -> "LowRank":
        """Return it on a device and in a dtype."""
        return LowRank(a=self.a.to(device, dtype), b=self.b.to(device, dtype), scale=self.scale)


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
    rank, scale = _rank_and_scale(folder, config)
    for field in ("target_modules", "exclude_modules"):
        _check_names(folder, field, config.get(field))
    tensors = _tensors(folder / "adapter_model.safetensors")
    excluded = set(_named(config.get("exclude_modules"), linears))
    targets = [n for n in _targets(config.get("target_modules"), linears) if n not in excluded]
    expected = {f"{_PREFIX}{name}.lora_{part}.weight" for name in targets for part in "AB"}
    if expected != set(tensors):
        differing = sorted(expected ^ set(tensors))
        what = "lacks" if differing[0] in expected else "has left over"
        more = (
            "" if expected - set(tensors) else f": if it changes more than linear layers, {_FOLD}"
        )
        raise ConfigError(
            f"{folder}: the adapter does not fit the base {base}: it {what} {differing[0]} "
            f"({len(differing)} keys differ){more}"
        )
    found = {}
    for name in targets:
        a, b = (tensors[f"{_PREFIX}{name}.lora_{part}.weight"] for part in "AB")
        layer = linears[name]
        wanted = [(rank, layer.in_features), (layer.out_features, rank)]
        if [a.shape, b.shape] != wanted:
            raise ConfigError(
                f"{folder}: the adapter does not fit the base {base}: at {name} its A and B are "
                f"{tuple(a.shape)} and {tuple(b.shape)}, they should be {wanted[0]} and {wanted[1]}"
            )
        found[name] = LowRank(a=a, b=b, scale=scale)
    return found


def _rank_and_scale(folder: Path, config: dict[str, Any]) -> tuple[int, float]:
    """Return the adapter's rank and what B @ A is multiplied with, if it is plain LoRA."""
    other = [f"{name} {str(config[name])[:60]}" for name in _UNKNOWN if config.get(name)]
    for name, plain in (("peft_type", ("LORA",)), ("bias", ("none",)),
                        ("init_lora_weights", _PLAIN_STARTS)):  # fmt: skip
        if config.get(name, plain[0]) not in plain:
            other.append(f"{name} {str(config[name])[:60]}")
    if other:
        raise ConfigError(
            f"{folder}: the adapter is not a plain LoRA adapter ({', '.join(other)}): {_FOLD}, or "
            "train one with finsent-batch train"
        )
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        if not abs(alpha) < _LARGEST_ALPHA:
            raise ValueError  # it, or what it is multiplied with, is no fp32
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ConfigError(
            f"{folder}/adapter_config.json has no rank r and lora_alpha, or none that adapters "
            "have: restore it"
        ) from None
    return rank, alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _targets(wanted: Any, linears: dict[str, Any]) -> list[str]:
    """Return the names of the layers that an adapter's `target_modules` mean.

    As in peft: a list names layers by their last parts, a string is a regular expression.
    """
    return list(linears) if wanted == "all-linear" else _named(wanted, linears)


def _check_names(folder: Path, field: str, value: Any) -> None:
    """Refuse what is neither a list, as which names are given, nor a regular expression."""
    try:
        if isinstance(value, str):
            re.compile(value)
        elif value is not None and not isinstance(value, list):
            raise TypeError
    except (TypeError, re.error):
        raise ConfigError(
            f"{folder}: {field} in adapter_config.json is {str(value)[:60]}, which names no "
            "layers: restore it"
        ) from None


def _named(wanted: Any, linears: dict[str, Any]) -> list[str]:
    if isinstance(wanted, str):
        return [name for name in linears if re.fullmatch(wanted, name)]
    names = list(wanted or [])
    return [name for name in linears if any(name == n or name.endswith(f".{n}") for n in names)]


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadDataError(f"{file} cannot be read ({error}): restore it") from None
