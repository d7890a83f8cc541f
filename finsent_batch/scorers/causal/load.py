"""Load a causal model, in 4 bits or not, with its adapter folded in."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    FineGrainedFP8Config,
    Mxfp4Config,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging as transformers_logging

from ...errors import BadDataError, UnavailableError
from ...hardware import main_memory
from ...models.base_weights import WEIGHTS_FROM_DISK
from ...models.config_file import DEQUANTIZED, ConfigFile
from ...models.spec import ModelSpec
from ...optional_imports import load_bitsandbytes
from ..guard import loading
from ..loaded import absent_weights, check_known, check_unexpected
from .linear import to_scoring_linear
from .lora import read_adapter

# Loading needs no progress bar, and a library prints nothing.
transformers_logging.disable_progress_bar()


def nf4_config(compute: torch.dtype) -> BitsAndBytesConfig:
    """Return the quantisation of QLoRA: NF4, its scales quantized again."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def compute_dtype(device: str, weights: str) -> torch.dtype:
    """Return the dtype of activations: fp32 on a CPU unless bf16, or fp8 of it, was asked for."""
    if weights == "fp32" or (device == "cpu" and weights not in ("bf16", "fp8")):
        return torch.float32
    if device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16


def load_base(folder: Path, *, nf4: bool, device: str, compute: torch.dtype) -> Any:
    """Load a causal model in evaluation mode, its layers' weights in NF4 or as they are stored.

    Quantizing starts from the stored dtype, so that training and scoring get the
    same 4-bit weights.

    Raises:
        MissingInputError, ConfigError: there are no weights, or pickled ones only.
        BadDataError: the weights are damaged, or not all of `config.json`'s model.
        UnavailableError: 4 bits without bitsandbytes.
    """
    config = ConfigFile(folder)
    dequantized = config.quantisation in DEQUANTIZED
    if nf4 or "bitsandbytes" in (config.quantisation or ""):
        load_bitsandbytes()
    check_known(str(folder), folder, MODEL_FOR_CAUSAL_LM_MAPPING)
    try:
        with loading(str(folder)):
            model, found = AutoModelForCausalLM.from_pretrained(
                folder,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # looked at below
                # What a quantisation is undone to; else as stored.
                dtype=compute if dequantized else "auto",
                device_map={"": device},
                **_quantisation(config, nf4=nf4, compute=compute),
                **WEIGHTS_FROM_DISK,
            )
    except torch.OutOfMemoryError:
        raise UnavailableError(
            f"{folder} does not fit into the memory of {device}: use "
            f"{'a larger GPU' if nf4 else '4 bits (score --weights nf4, train --quantisation nf4)'}"
        ) from None
    _check_complete(folder, found)
    check_unexpected(str(folder), model, found)
    return model.eval()


def _quantisation(config: ConfigFile, *, nf4: bool, compute: torch.dtype) -> dict[str, Any]:
    """Return what tells transformers to quantize, or to undo the quantisation of the files."""
    if config.quantisation == "fp8":
        return {"quantization_config": FineGrainedFP8Config(dequantize=True)}
    if config.quantisation == "mxfp4":
        return {"quantization_config": Mxfp4Config(dequantize=True)}
    stored = config.quantisation is not None  # bitsandbytes: transformers reads its own settings
    return {"quantization_config": nf4_config(compute)} if nf4 and not stored else {}


def _check_complete(folder: Path, found: dict[str, Any]) -> None:
    """Refuse a model that transformers has filled up with random numbers."""
    if absent := absent_weights(found):
        raise BadDataError(
            f"{folder}: {len(absent)} of the weights that config.json asks for are missing or of "
            f"another shape, such as {absent[0]}: restore the files"
        )


def _check_memory(spec: ModelSpec, compute: torch.dtype) -> None:
    """Refuse what the system would kill half-way for its memory, without a word."""
    size = sum(file.stat().st_size for file in spec.base_weights)
    stored = 4 if spec.config.get("dtype", spec.config.get("torch_dtype")) == "float32" else 2
    needed = size // stored * compute.itemsize
    if needed <= (there := main_memory()):
        return
    smaller = [] if spec.manifest else ["nf4"]  # a base as it is
    smaller += ["bf16"] if compute == torch.float32 else []
    remedy = f"--weights {' or '.join(smaller)}" if smaller else "another"
    raise UnavailableError(
        f"{spec.name} takes {needed / 1e9:.3g} GB of memory in {str(compute)[6:]}, this machine "
        f"has {there / 1e9:.3g}: use {remedy}"
    )


def load_causal(spec: ModelSpec, *, device: str, weights: str) -> Any:
    """Load base and adapter as one causal model whose linear layers are scoring ones.

    Raises:
        FinsentError: the base cannot be loaded, or the adapter does not fit it.
    """
    compute = compute_dtype(device, weights)
    return load_causal_in(spec, device=device, ways=[weights], compute=compute)[0]


def load_causal_in(
    spec: ModelSpec, *, device: str, ways: Sequence[str], compute: torch.dtype
) -> list[Any]:
    """Load a model once, and return it in several kinds of weights; see `load_causal`.

    Batches of all are computed in `compute`. What is no linear layer, such as the embeddings, they
    share.
    """
    _ = spec.base_weights  # refused here if they are not whole
    if device == "cpu" and spec.quantisation is None:
        _check_memory(spec, compute)
    model = load_base(spec.base, nf4=spec.quantisation == "nf4", device=device, compute=compute)
    model.requires_grad_(False)
    models = [model, *(_sharing_all(model) for _ in ways[1:])]
    cast: dict[nn.Parameter, nn.Parameter] | None = {} if len(ways) > 1 else None
    for way, folded in zip(ways, models, strict=True):
        fold_adapter(folded, spec, weights=way, compute=compute)
        _cast_parameters(folded, compute, cast)
    return models


def _cast_parameters(
    model: Any, dtype: torch.dtype, cast: dict[nn.Parameter, nn.Parameter] | None
) -> None:
    """Put a model's parameters into `dtype`; `cast` keeps those that were, for others to share."""
    for module in model.modules():
        for name, tensor in module.named_parameters(recurse=False):
            if not tensor.is_floating_point():
                continue
            found = cast.get(tensor) if cast else None
            if found is None:
                found = nn.Parameter(tensor.to(dtype), requires_grad=False)
            if cast is not None:
                cast[tensor] = found
            setattr(module, name, found)


def _sharing_all(model: Any) -> Any:
    """Return a copy of a model that shares its tensors: they may be replaced in each alone."""
    tensors = [*model.parameters(), *model.buffers()]
    copied = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for name in ("to", "cuda"):  # accelerate puts functions there that hold the original
        copied.__dict__.pop(name, None)
    return copied


def fold_adapter(model: Any, spec: ModelSpec, *, weights: str, compute: torch.dtype) -> None:
    """Replace the decoder's linear layers by their scoring form, the adapter folded in."""
    linears = decoder_linears(model)
    parts = read_adapter(spec.adapter, linears, spec.base_id) if spec.adapter else {}
    for name, layer in linears.items():
        parent, _, child = name.rpartition(".")
        part = parts.get(name)
        setattr(
            model.get_submodule(parent), child, to_scoring_linear(layer, weights, compute, part)
        )


def decoder_linears(model: Any) -> dict[str, nn.Linear]:
    """Return the linear layers of a causal model but the output head, by name.

    Those of bitsandbytes among them; other layers derived from `nn.Linear` compute otherwise.
    """
    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if _is_plain_linear(module) and module is not head
    }


def _is_plain_linear(module: nn.Module) -> bool:
    kind = type(module)
    return kind is nn.Linear or (
        isinstance(module, nn.Linear) and kind.__module__.startswith("bitsandbytes.")
    )
