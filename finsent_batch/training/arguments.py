"""The arguments of transformers' Trainer that both families share."""

import importlib.util
import math
import os
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from ..train_config import TrainConfig


def one_gpu(arguments: TrainingArguments) -> None:
    """Keep a trainer from spreading one process's batches over all GPUs that it sees."""
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1


def common_arguments(
    config: TrainConfig, folder: Path, rows: float, *, size: int, accumulation: int
) -> dict[str, Any]:
    """Return what the settings say to a Trainer that has `rows` rows an epoch in this process.

    A step takes `accumulation` batches of `size` rows; what is saved goes to `folder`.
    """
    return {
        "output_dir": str(folder),
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.num_train_epochs,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_steps": round(total_steps(config, rows, size * accumulation) * config.warmup_ratio),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "train_sampling_strategy": "group_by_length",
        "seed": config.seed,
        "report_to": _report_to(config),
        "disable_tqdm": True,
    }


def total_steps(config: TrainConfig, rows: float, batch: int) -> float:
    """Return the steps of the whole training, with `rows` rows an epoch and `batch` a step."""
    return math.ceil(rows / batch) * config.num_train_epochs


def _report_to(config: TrainConfig) -> list[str]:
    """Return where transformers is to log: TensorBoard in `logs`, if wanted and installed."""
    if config.report_to == "none" or importlib.util.find_spec("tensorboard") is None:
        return []
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(config.output / "logs")
    return [config.report_to]
