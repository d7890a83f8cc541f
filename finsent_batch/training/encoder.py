"""Train an encoder's adapter: LoRA under a classifier with three labels, then calibration.

The data folders come from `prepare`. Method: LoRA on every linear layer (Hu et
al. 2021), cross-entropy with label smoothing and classes weighed within each
folder, batches grouped by length, cosine schedule; then one temperature is
fitted on the validation rows (Guo et al. 2017).
"""

import logging
from pathlib import Path
from typing import Any, Final

import polars as pl
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoTokenizer,
    set_seed,
)

from ..errors import ConfigError
from ..failpoints import failpoint
from ..hardware import available_cores
from ..labelled.split_folders import Labelled, load_splits
from ..models.base_weights import FROM_DISK, weight_files
from ..models.contents import WatchedFolder
from ..models.locate import PACKAGED_BASE, resolve_base
from ..models.reading import read_json
from ..models.spec import CLASSIFIER
from ..progress import Progress, StopRequest
from ..scorers.encoder.model import ENCODERS, new_classifier
from ..scorers.guard import loading
from ..train_config import FULL_PRESETS, TrainConfig
from .calibrate import calibrate
from .callbacks import check_finite
from .checkpoints import check_base, start_checkpoints
from .encoder_trainer import count_cut, fit, logits_of
from .failures import expected_faults
from .manifest import manifest, own_weights
from .output import check_output, publish_model, save_model
from .transfer_set import training_rows

logger = logging.getLogger(__name__)

_TARGET_MODULES: Final = ("query", "key", "value", "dense")
"""BERT's names of its linear layers; other families' follow them."""
_HEADS: Final = ("classifier", "score")


def train_encoder(
    config: TrainConfig, progress: Progress, stop: StopRequest
) -> dict[str, dict[str, Any]]:
    """Train, calibrate, evaluate and write a model directory; see `training.train`."""
    check_output(config)
    with WatchedFolder(resolve_base(config.base or PACKAGED_BASE)) as watched:
        return _train(config, watched, progress, stop)


def _train(
    config: TrainConfig, watched: WatchedFolder, progress: Progress, stop: StopRequest
) -> dict[str, dict[str, Any]]:
    progress("read", 0, None)
    data, base = load_splits(config.data), watched.folder
    progress("load", 0, None)
    weight_files(base)
    card = manifest(
        config,
        data,
        family=CLASSIFIER,
        base=base,
        max_length=config.max_length,
        own={"pooling": config.pooling},
    )
    full = config.preset in FULL_PRESETS
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads or available_cores())
    try:
        with expected_faults(config.output):
            set_seed(config.seed)
            with loading(f"the tokenizer in {base}"):
                tokenizer = AutoTokenizer.from_pretrained(base, **FROM_DISK)
            model = _whole(config, base) if full else _adapted(config, base)
            progress("tokenize", 0, None)
            _warn_of_cut(config, data, tokenizer)
            watched.check()
            failpoint("load_model")
            with training_rows(config, data, tokenizer) as transfer:
                if transfer.soft_labels is not None:
                    card["training"]["soft_labels"] = transfer.soft_labels
                start_checkpoints(config, card)
                stop.check()
                held_out = data.splits["valid"]
                log = fit(config, model, tokenizer, transfer.rows, held_out, progress, stop)
            stop.check()
            progress("calibrate", 0, None)
            check_finite(model)
            _round_to_half(model)
            temperature, report = calibrate(
                lambda headlines: logits_of(model, tokenizer, headlines, config.max_length), data
            )
            progress("publish", 0, None)
            staged = save_model(
                config.output, model.half(), tokenizer, config.base or PACKAGED_BASE
            )
            if full:
                card |= own_weights(card, staged)
            card |= {"temperature": temperature, "metrics": report}
            check_base(watched, config.output)
            publish_model(config.output, staged, card, log)
    finally:
        torch.set_num_threads(threads)
    return report


def _warn_of_cut(config: TrainConfig, data: Labelled, tokenizer: Any) -> None:
    headlines = pl.concat([data.splits["train"]["headline"], data.splits["valid"]["headline"]])
    cut = count_cut(tokenizer, headlines.to_list(), config.max_length)
    if cut:
        logger.warning(
            "%d headlines are longer than %d tokens and were cut at their end",
            cut,
            config.max_length,
        )


def _whole(config: TrainConfig, base: Path) -> Any:
    """Return an encoder with a new head, all of it to be trained.

    Raises:
        ConfigError: the base is no encoder.
    """
    kind = read_json(base / "config.json").get("model_type")
    if kind not in ENCODERS:
        raise ConfigError(
            f"{base} is {kind}, which is no encoder: name a base of {', '.join(ENCODERS)}"
        )
    return new_classifier(base, config.pooling, dropout=config.base_dropout)[0]


def _adapted(config: TrainConfig, base: Path) -> Any:
    """Return a base with a new head and a fresh adapter on its linear layers.

    Trained and saved whole is the head, and all else that the base has not, such as a pooler.

    Raises:
        ConfigError: the base has no linear layers.
    """
    model, new = new_classifier(base, config.pooling, dropout=config.base_dropout)
    whole = sorted({*(name for name in _HEADS if hasattr(model, name)), *new_parts(model, new)})
    linears = [name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    inside = [name for name in linears if any(f"{name}.".startswith(f"{w}.") for w in whole)]
    names = {name.rpartition(".")[2] for name in linears if name not in inside}
    if not names:
        raise ConfigError(f"{base} has no linear layers to adapt: name another base")
    lora = LoraConfig(
        task_type="SEQ_CLS",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=[n for n in _TARGET_MODULES if n in names]
        + sorted(names - set(_TARGET_MODULES)),
        exclude_modules=inside or None,
        modules_to_save=whole,
    )
    return get_peft_model(model, lora)


def new_parts(model: Any, new: list[str]) -> list[str]:
    """Return the largest parts of a model all of whose weights are new."""
    fresh, parts = set(new), set()
    every = [name for name, _ in model.named_parameters()]
    for weight in new:
        path = weight.split(".")
        for depth in range(1, len(path)):
            part = ".".join(path[:depth])
            if all(name in fresh for name in every if name.startswith(f"{part}.")):
                parts.add(part)
                break
    return sorted(parts)


def _round_to_half(model: Any) -> None:
    """Round what was trained to what is stored: half precision, which halves the file."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.half().float()
