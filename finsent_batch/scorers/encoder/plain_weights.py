"""Load a BERT classifier, and a LoRA adapter on it, by `safetensors` and torch alone.

Only what is known to the letter: every entry of `config.json` and `adapter_config.json` is one
whose meaning is spelled out here, and the files hold exactly the weights that follow from them.
Whatever else there is goes the way of transformers and peft, which also say what is wrong.
"""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ...errors import FinsentError
from ...labels import LABELS
from ...models.reading import read_json
from ...models.spec import ModelSpec
from .plain_bert import BertShape, PlainBert

Weights = dict[str, torch.Tensor]

_SIZES: Final = tuple(n for n in BertShape.__dataclass_fields__ if n != "layer_norm_eps")
_FIXED: Final = {
    "model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute",
    "is_decoder": False, "add_cross_attention": False, "chunk_size_feed_forward": 0,
}  # fmt: skip
"""What an entry of `config.json` must be where it is given."""
_IDLE: Final = frozenset((
    "_name_or_path", "architectures", "attention_probs_dropout_prob", "bos_token_id",
    "classifier_dropout", "dtype", "eos_token_id", "finetuning_task", "gradient_checkpointing",
    "hidden_dropout_prob", "id2label", "initializer_range", "label2id", "pad_token_id",
    "problem_type", "tie_word_embeddings", "torch_dtype", "transformers_version", "use_cache",
))  # fmt: skip
"""Entries that change no answer."""
_ADAPTER: Final = {
    "peft_type": ("LORA",), "bias": ("none",), "init_lora_weights": (True,),
    "task_type": ("SEQ_CLS",),
}  # fmt: skip
_ADAPTER_IDLE: Final = frozenset((
    "base_model_name_or_path", "exclude_modules", "inference_mode", "lora_alpha", "lora_dropout",
    "megatron_core", "modules_to_save", "peft_version", "qalora_group_size", "r", "revision",
    "target_modules",
))  # fmt: skip
"""Entries of `adapter_config.json` that are read here or change no answer; others are empty."""
_FLOATS: Final = (torch.float32, torch.float16, torch.bfloat16)
_PREFIX: Final = "base_model.model."


class _NotPlainError(Exception):
    """Something of a model is not spelled out here."""


def load_plain_bert(spec: ModelSpec) -> PlainBert | None:
    """Return base and adapter as one model in fp32, or None where they are not known to the letter.

    The adapter is folded in as peft does it: W + (B A) * alpha / r, in fp32.
    """
    try:
        return _load(spec)
    except (_NotPlainError, FinsentError, KeyError, TypeError, ValueError):
        return None  # transformers and peft load it, or say what is wrong


def _load(spec: ModelSpec) -> PlainBert:
    shape = _shape(spec.config)
    pooled = spec.manifest.get("pooling", "cls") != "mean"
    model = PlainBert(shape, pooled=pooled, labels=len(LABELS))
    names = set(model.state_dict())
    weights = _base_weights(spec, names)
    if spec.adapter is not None:
        _fold_in(spec.adapter, weights, names)
    _require(weights.keys() == names)
    _require(all(weights[n].shape == p.shape for n, p in model.state_dict().items()))
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def _require(met: bool) -> None:
    if not met:
        raise _NotPlainError


def _shape(config: dict[str, Any]) -> BertShape:
    _require(config.keys() <= {*_SIZES, "layer_norm_eps", *_FIXED, *_IDLE})
    _require("model_type" in config)
    _require(all(config.get(name, value) == value for name, value in _FIXED.items()))
    shape = BertShape(
        **{name: config[name] for name in _SIZES}, layer_norm_eps=config["layer_norm_eps"]
    )
    _require(all(type(config[name]) is int and config[name] > 0 for name in _SIZES))
    _require(shape.hidden_size % shape.num_attention_heads == 0)
    return shape


def _base_weights(spec: ModelSpec, names: set[str]) -> Weights:
    """Return those of a base that the model has, in fp32; the file may hold nothing unknown."""
    [file] = spec.base_weights
    _require(file.name == "model.safetensors")
    held = load_file(file)
    bare = not any(name.startswith("bert.") for name in held)  # a bare BertModel's names
    _require(bare <= (spec.adapter is not None))
    found = {f"bert.{name}" if bare else name: tensor for name, tensor in held.items()}
    _require(all(name in names or _unused(name) for name in found))
    return {name: _floats(tensor) for name, tensor in found.items() if name in names}


def _unused(name: str) -> bool:
    """Return whether a model for another task, or an older version, keeps this in its file."""
    return name.startswith(("bert.pooler.", "cls.")) or name in (
        "bert.embeddings.position_ids",
        "bert.embeddings.token_type_ids",
    )


def _floats(tensor: torch.Tensor) -> torch.Tensor:
    _require(tensor.dtype in _FLOATS)
    return tensor.float()


def _fold_in(adapter: Path, weights: Weights, names: set[str]) -> None:
    """Add an adapter's products to `weights`, and put what it saves whole in their place."""
    config = read_json(adapter / "adapter_config.json")
    for name, value in config.items():
        _require(name in _ADAPTER_IDLE or value in _ADAPTER.get(name, (None, False, {}, [])))
    _require(config["peft_type"] == "LORA")
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _require(all(name.startswith(_PREFIX) for name in held))
    found = {name.removeprefix(_PREFIX): _floats(tensor) for name, tensor in held.items()}
    adapted, saved = _adapted(config, names)
    pairs = {f"{layer}.lora_{part}.weight" for layer in adapted for part in "AB"}
    _require(found.keys() == pairs | saved)
    for layer in adapted:
        a, b = found[f"{layer}.lora_A.weight"], found[f"{layer}.lora_B.weight"]
        weight = weights[f"{layer}.weight"]
        _require(a.shape[0] == b.shape[1] == config["r"])
        _require((b.shape[0], a.shape[1]) == weight.shape)
        weights[f"{layer}.weight"] = weight + (b @ a) * (config["lora_alpha"] / config["r"])
    for name in saved:
        _require(name not in weights or weights[name].shape == found[name].shape)
        weights[name] = found[name]


def _adapted(config: dict[str, Any], names: set[str]) -> tuple[set[str], set[str]]:
    """Return the linear layers that have an adapter, and the weights that are saved whole."""
    parts: dict[str, list[str]] = {
        name: list(config.get(name) or [])
        for name in ("target_modules", "exclude_modules", "modules_to_save")
    }
    _require(isinstance(config["target_modules"], list))
    whole = parts["modules_to_save"]
    saved = {name for name in names if _inside(name, whole)}
    linear = {
        name.removesuffix(".weight")
        for name in names
        if name.endswith(".weight") and not name.endswith(("LayerNorm.weight", "embeddings.weight"))
    }
    outside = [name for name in linear if f"{name}.weight" not in saved]
    adapted = {
        name
        for name in outside
        if _named(name, parts["target_modules"]) and not _named(name, parts["exclude_modules"])
    }
    return adapted, saved


def _named(layer: str, wanted: list[str]) -> bool:
    return any(layer == name or layer.endswith(f".{name}") for name in wanted)


def _inside(weight: str, wanted: list[str]) -> bool:
    """Return whether a weight is one of a module that is named, or of one within it."""
    path = weight.split(".")
    modules = (".".join(path[:depth]) for depth in range(1, len(path)))
    return any(_named(module, wanted) for module in modules)
