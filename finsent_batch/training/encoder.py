"""The story of `train --preset mini`: a LoRA adapter for an encoder with three labels.

The data folders come from `prepare`. Method: LoRA on every linear layer (Hu et
al. 2021), cross-entropy with label smoothing and classes weighed within each
folder, batches grouped by length, cosine schedule; then one temperature is
fitted on the validation rows (Guo et al. 2017).
"""

import json
import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoTokenizer,
    set_seed,
)

from ..arrays import Floats
from ..hardware import available_cores
from ..labelled.mixture import epoch_rows
from ..labelled.split_folders import Labelled, held_out, load_splits, split_notes
from ..labels import LABELS
from ..metrics.classification import evaluate_predictions, fit_temperature
from ..models.base_weights import FROM_DISK, PACKAGED_BASE, base_name, resolve_base, weight_files
from ..models.manifest import CARD_FILE, FORMAT_VERSION, TRAINING_LOG, save_settings
from ..models.model_card import write_card
from ..models.weight_files import FileHashes, share_weights
from ..progress import Progress
from ..scorers.encoder.model import new_classifier
from ..train_config import TrainConfig
from .callbacks import check_finite
from .encoder_trainer import count_cut, fit, logits_of
from .manifest import hyperparameters, package_versions
from .output import check_output

logger = logging.getLogger(__name__)

_TARGET_MODULES: Final = ["query", "key", "value", "dense"]


def train_encoder(config: TrainConfig, progress: Progress) -> dict[str, dict[str, Any]]:
    """Train, calibrate, evaluate and write a model directory; see `training.train`."""
    check_output(config)
    data = load_splits(config.data)
    base = resolve_base(config.base or PACKAGED_BASE)
    weight_files(base)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads or available_cores())
    try:
        set_seed(config.seed)
        tokenizer = AutoTokenizer.from_pretrained(base, **FROM_DISK)
        model = _adapted(config, base)
        headlines = pl.concat([data.splits["train"]["headline"], data.splits["valid"]["headline"]])
        cut = count_cut(tokenizer, headlines.to_list(), config.max_length)
        if cut:
            logger.warning(
                "%d headlines are longer than %d tokens and were cut at their end",
                cut,
                config.max_length,
            )
        rows = epoch_rows(data.splits["train"], config, held_out(data))
        log = fit(config, model, tokenizer, rows, data.splits["valid"], progress)
        check_finite(model)
        report, temperature = _assess(config, model, tokenizer, data)
    finally:
        torch.set_num_threads(threads)
    _save(config, model, tokenizer)
    card = _card(config, base, data, temperature, report)
    save_settings(config.output, card)
    write_card(config.output, card)
    (config.output / TRAINING_LOG).write_text(json.dumps(log, indent=1) + "\n", "utf-8")
    return report


def _adapted(config: TrainConfig, base: Path) -> Any:
    lora = LoraConfig(
        task_type="SEQ_CLS",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=_TARGET_MODULES,
        modules_to_save=["classifier"],
    )
    return get_peft_model(new_classifier(base, config.pooling), lora)


def _assess(
    config: TrainConfig, model: Any, tokenizer: Any, data: Labelled
) -> tuple[dict[str, dict[str, Any]], float]:
    """Round the adapter to what is stored, fit the temperature, measure each part."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.half().float()
    logits: dict[str, tuple[Floats, Any]] = {}
    for split in ("valid", "test"):
        for folder, frame in data.folders(split).items():
            truth = np.array([LABELS.index(label) for label in frame["label"]], dtype=np.int64)
            found = logits_of(model, tokenizer, frame["headline"].to_list(), config.max_length)
            logits[f"{split}/{folder}"] = found, truth
    temperature = 1.0
    held_out = [v for name, v in logits.items() if name.startswith("valid/")]
    if held_out:
        stacked = np.concatenate([v[0] for v in held_out]).astype(np.float64)
        temperature = round(fit_temperature(stacked, np.concatenate([v[1] for v in held_out])), 4)
    report = {}
    for name, (found, truth) in logits.items():
        probabilities = torch.from_numpy(found / temperature).softmax(-1).numpy()
        report[name] = evaluate_predictions(truth, probabilities)
    return report, temperature


def _save(config: TrainConfig, model: Any, tokenizer: Any) -> None:
    """Write adapter and tokenizer; half precision halves the file and was already rounded to."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.half()
    # Half of one model and half of another would be scored with; without its card it is none.
    (config.output / CARD_FILE).unlink(missing_ok=True)
    model.save_pretrained(config.output)
    tokenizer.save_pretrained(config.output)
    file = config.output / "adapter_config.json"
    adapter = json.loads(file.read_text("utf-8"))
    # The path of this machine means nothing elsewhere; finsent.json names the base.
    adapter["base_model_name_or_path"] = config.base or PACKAGED_BASE
    file.write_text(json.dumps(adapter, indent=2, sort_keys=True) + "\n", "utf-8")
    share_weights(file)
    (config.output / "README.md").unlink(missing_ok=True)


def _card(
    config: TrainConfig,
    base: Path,
    data: Labelled,
    temperature: float,
    report: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    hashes = FileHashes()
    return {
        "format_version": FORMAT_VERSION,
        "family": "sequence_classifier",
        "preset": config.preset,
        "base": {
            "id": base_name(config.base or PACKAGED_BASE),
            "files": {f.name: hashes.sha256(f) for f in weight_files(base)},
        },
        "pooling": config.pooling,
        "quantisation": None,
        "labels": list(LABELS),
        "max_length": config.max_length,
        "temperature": temperature,
        "training": {
            "data_sha256": data.sha256,
            "data": [split_notes(folder) for folder in config.data],
            "hyperparameters": hyperparameters(config),
            "seed": config.seed,
        },
        "versions": package_versions(),
        "metrics": report,
    }
