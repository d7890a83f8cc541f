"""Check from transformers' load report that the whole model was loaded."""

from pathlib import Path
from typing import Any, Final

from transformers import AutoConfig

from ..errors import ConfigError
from ..models.base_weights import FROM_DISK, listed
from .guard import loading

# Buffers that older versions saved and newer ones compute.
_BUFFERS: Final = (
    "position_ids", "inv_freq", "masked_bias", "token_type_ids", "rope_freqs",
    "relative_position_index", "num_batches_tracked",
)  # fmt: skip


def check_known(name: str, folder: Path, mapping: Any) -> None:
    """Refuse a model whose type an auto class does not know; `mapping` is that class's.

    Raises:
        ConfigError: transformers does not know the type, or not for this task.
    """
    with loading(name, "upgrade transformers, or name a model of a type that it knows"):
        config = AutoConfig.from_pretrained(folder, **FROM_DISK)
    if type(config) not in mapping:
        raise ConfigError(
            f"{name} is a {(config.architectures or [config.model_type])[0]}; finsent-batch scores "
            "sequence classifiers (…ForSequenceClassification) with three labels and causal models "
            "(…ForCausalLM)"
        )


def absent_weights(found: dict[str, Any]) -> list[str]:
    """Return the names of weights that a checkpoint has not, or in another shape."""
    return sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})


def check_unexpected(name: str, model: Any, found: dict[str, Any]) -> None:
    """Refuse a checkpoint that has more to say of a layer than the model takes from it.

    Whole parts that the model has no use for, such as another task's head, are none of its
    business. But a second tensor beside a layer's weight, such as a scale, changes that weight,
    and a model that ends before its last layer is another one.

    Raises:
        ConfigError: a layer has a tensor that was not loaded, or a layer was left out.
    """
    modules = dict(model.named_modules())
    if beyond := [key for key in sorted(found["unexpected_keys"]) if _is_beyond(key, modules)]:
        raise ConfigError(
            f"{name} holds layers that its config.json does not have ({listed(beyond)}): restore "
            "its config.json"
        )
    strange = []
    for key in sorted(found["unexpected_keys"]):
        layer, _, tensor = key.rpartition(".")
        # GPT-2's attention saved its mask as `bias`; a linear layer's bias is no buffer.
        buffer = tensor in _BUFFERS or (tensor == "bias" and not _is_linear(modules.get(layer)))
        if layer in modules and not buffer:
            strange.append(key)
    if strange:
        raise ConfigError(
            f"{name}: its files hold {listed(strange)}, which {type(model).__name__} does not "
            "read: the weights are quantized, or another architecture's; name the original model"
        )


def _is_beyond(key: str, modules: dict[str, Any]) -> bool:
    """Return whether a tensor is of a layer behind the last one of a stack that the model has."""
    parts = key.split(".")
    return any(
        part.isdecimal()
        and f"{'.'.join(parts[:i])}.0" in modules
        and f"{'.'.join(parts[:i])}.{part}" not in modules
        for i, part in enumerate(parts)
    )


def _is_linear(module: Any) -> bool:
    return hasattr(module, "in_features")
