"""Merge an adapter into a dense checkpoint that transformers loads.

The adapter is folded into the weights it was trained on: those of a 4-bit base
as they come out of dequantisation, not the originals, which it never saw. The
result is in the base's own precision, bf16 where that is 4 or 8 bits.
"""

import logging
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from ..config import MergeConfig
from ..errors import CannotCreateError, ConfigError, StorageError
from ..failpoints import failpoint
from ..hardware import resolve_device
from ..io.whole.folders import replacing_folder
from ..io.whole.protected import check_free_folder, protected
from ..models.base_weights import weight_files
from ..models.config_file import ConfigFile
from ..models.contents import model_files
from ..models.directory import open_configured
from ..models.manifest import MANIFEST_FILE, MODEL_FILES, write_manifest
from ..models.spec import CAUSAL, ModelSpec
from ..models.weight_files import FileHashes, share_weights
from ..optional_imports import quiet_bitsandbytes
from .failures import full_disk

logger = logging.getLogger(__name__)


def merge(config: MergeConfig) -> list[Path]:
    """Fold the adapter of a causal model into its base and write a checkpoint.

    Returns the weight files written. The folder also gets the tokenizer and a
    `finsent.json`, so that `score --model` takes it as it took the adapter.

    Raises:
        ConfigError: the model is no adapter of a causal base.
        CannotCreateError: the output folder holds a model already, or is the adapter's own.
        StorageError: the disk is full.
        FinsentError: the model cannot be loaded.
    """
    output, spec = config.output, open_configured(config.model)
    if spec.family != CAUSAL or spec.adapter is None:
        raise ConfigError(
            f"{config.model.model} is not an adapter of a causal model, which is what merge needs: "
            "train --preset llama2-7b and peft write them"
        )
    if any((output / name).exists() for name in MODEL_FILES) and not config.overwrite:
        raise CannotCreateError(f"{output} holds a model: use --overwrite or another -o")
    check_free_folder(output, (), protected(models=[spec.folder, spec.base]))
    quiet_bitsandbytes()
    old = {file.name for file in model_files(output)} if output.is_dir() else set()

    before = spec.state()
    for note in spec.notes:
        logger.warning("%s", note)
    dense = _dense(spec)
    failpoint("load_model")
    spec.check_unchanged(before)
    try:
        with replacing_folder(
            output, index=MANIFEST_FILE, obsolete=lambda entry: entry.name in old
        ) as folder:
            dense.save_pretrained(folder)
            share_weights(folder / "config.json")
            _copy_tokenizer(spec, folder)
            _write_manifest(spec, folder)
    except (RuntimeError, SafetensorError) as error:
        if not full_disk(error):
            raise
        raise StorageError(
            f"the disk is full while {output} was written: make room and run again"
        ) from None
    return weight_files(output)


def _dense(spec: ModelSpec) -> Any:
    """Return the base as a plain model whose linear layers have the adapter in them.

    Its dtype is that of the base's files, bf16 where these are quantized.
    """
    from ..scorers.causal.linear import DenseLinear
    from ..scorers.causal.load import fold_adapter, load_base

    _ = spec.base_weights  # refused here if they are not whole
    nf4, dtype = spec.quantisation == "nf4", _dtype(spec)
    model = load_base(spec.base, nf4=nf4, device=resolve_device("auto"), compute=dtype)
    # Kept in 4 bits and unpacked a layer at a time: two dense copies of 7B are 27 GB.
    fold_adapter(model, spec, weights="nf4" if nf4 else "bf16", compute=dtype)
    for name, module in list(model.named_modules()):
        if isinstance(module, DenseLinear):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, _plain(*module.dense(dtype)))
    return _unquantized(model, dtype)


def _unquantized(model: Any, dtype: torch.dtype) -> Any:
    """Return a model of the same weights that knows nothing of how they were stored before."""
    from transformers import AutoModelForCausalLM

    config = deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = dtype
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=dtype)
    weights = {name: tensor.to("cpu", dtype) for name, tensor in model.state_dict().items()}
    plain.load_state_dict(weights, assign=True)
    plain.tie_weights()
    return plain


def _dtype(spec: ModelSpec) -> torch.dtype:
    config = ConfigFile(spec.base)
    found = getattr(torch, config.dtype, None) if config.dtype else None
    if spec.quantisation or config.quantisation or not isinstance(found, torch.dtype):
        return torch.bfloat16
    return found


def _plain(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Return an ordinary layer of these weights, in main memory."""
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.cpu(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.cpu(), requires_grad=False)
    return layer


def _copy_tokenizer(spec: ModelSpec, output: Path) -> None:
    for file in spec.tokenizer.glob("*"):
        if "token" in file.name or file.name in ("vocab.json", "merges.txt"):
            shutil.copyfile(file, output / file.name)


def _write_manifest(spec: ModelSpec, output: Path) -> None:
    hashes = FileHashes()
    card = {
        **spec.manifest,
        "merged": True,
        "quantisation": None,
        "base": {
            "id": spec.base_id,
            "files": {f.name: hashes.sha256(f) for f in weight_files(output)},
        },
        "merged_from": {
            "quantisation": spec.quantisation,
            "adapter": hashes.sha256(spec.folder / "adapter_model.safetensors"),
        },
    }
    write_manifest(output, card)
