"""Fitting a causal adapter: TRL's SFTTrainer with peft's LoRA, in 4 bits or not (QLoRA)."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from .causal_data import PackedCollator
from .config import TrainConfig
from .errors import ConfigError
from .fitting import Report, tensorboard_installed
from .memory import MicroBatch
from .models.directory import TRAINING_LOG
from .planning import Progress
from .ranks import Ranks, SameOrder

CHECKPOINTS = "checkpoints"
KEPT_EPOCH = "eval_kept_epoch"
_ACCURACY = "eval_mean_token_accuracy"


class KeepEpoch(TrainerCallback):  # type: ignore[misc]
    """Marks the latest epoch that validation cannot tell from the best one.

    The one-standard-error rule (Breiman et al. 1984), on the accuracy of the
    answer's tokens: on a hundred rows the best epoch is mostly luck, on thousands
    the rule keeps the best. Loss would not do: a later epoch that is right more
    often, but too sure of itself, has the higher one, and calibration mends that.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **_: Any) -> None:
        found = [log[_ACCURACY] for log in state.log_history if _ACCURACY in log]
        best = max(found)
        error = math.sqrt(best * (1 - best) / self._rows)
        metrics[KEPT_EPOCH] = state.epoch if found[-1] >= best - error else 0.0


def adapted(config: TrainConfig, model: Any, *, checkpointing: bool) -> Any:
    """Return a base with a fresh LoRA adapter on all its linear layers, adapter in fp32."""
    if config.quantisation == "nf4":
        model = prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
    )
    return get_peft_model(model, lora)


def fit_causal(
    config: TrainConfig,
    model: Any,
    tokenizer: Any,
    sets: dict[str, Dataset],
    batch: MicroBatch,
    collator: PackedCollator | None,
    progress: Progress,
    ranks: Ranks,
) -> None:
    """Train `model` in place on `sets["train"]`; keep the epoch best on `sets["valid"]`.

    `batch` is one process's share of the effective batch, `ranks` who the processes are.
    Without a `collator` rows are padded as TRL does it.

    Raises:
        ConfigError: there is nothing to resume from, or it was another training.
    """
    folder = config.output / CHECKPOINTS
    validate = len(sets["valid"]) > 0
    if tensorboard_installed():
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(config.output / "logs")
    arguments = SFTConfig(
        **_arguments(config, folder, batch, len(sets["train"]) / ranks.world, validate=validate)
    )
    callbacks: list[TrainerCallback] = [Report(progress)] if ranks.first else []
    if ranks.world > 1:
        callbacks.append(SameOrder())
    if validate:
        callbacks.append(KeepEpoch(len(sets["valid"])))
    if config.early_stopping_patience is not None and validate:
        callbacks.append(EarlyStoppingCallback(config.early_stopping_patience))
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=sets["train"],
        eval_dataset=sets["valid"] if validate else None,
        data_collator=collator,
        callbacks=callbacks,
    )
    # TRL rounds a QLoRA adapter to bf16; small steps would be lost in it.
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    trainer.remove_callback(PrinterCallback)
    last = _last_checkpoint(folder) if config.resume else None
    if config.resume and last is None:
        raise ConfigError(f"--resume: {folder} holds no complete checkpoint: train without it")
    if not config.resume and ranks.first:
        shutil.rmtree(folder, ignore_errors=True)
    ranks.wait()
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if not ranks.first:
        return
    log = json.dumps(trainer.state.log_history, indent=1)
    (config.output / TRAINING_LOG).write_text(log + "\n", "utf-8")


def _arguments(
    config: TrainConfig, folder: Path, batch: MicroBatch, rows: float, *, validate: bool
) -> dict[str, Any]:
    steps = math.ceil(rows / (batch.size * batch.accumulation)) * config.num_train_epochs
    cuda = torch.cuda.is_available()
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    saving: dict[str, Any] = {"save_strategy": "epoch"}
    if config.save_steps is not None:
        saving = {"save_strategy": "steps", "save_steps": config.save_steps}
    if validate and config.save_steps is None:
        best = {"metric_for_best_model": KEPT_EPOCH, "greater_is_better": True}
        saving |= {"load_best_model_at_end": True, **best}
    return {
        "output_dir": str(folder),
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.num_train_epochs,
        "per_device_train_batch_size": batch.size,
        "per_device_eval_batch_size": batch.size,
        "gradient_accumulation_steps": batch.accumulation,
        "gradient_checkpointing": batch.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(steps * config.warmup_ratio),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "label_smoothing_factor": config.label_smoothing_factor,
        "optim": "paged_adamw_32bit" if cuda and config.quantisation else "adamw_torch",
        "train_sampling_strategy": "group_by_length",
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "bf16": bf16,
        "fp16": cuda and not bf16,
        "use_cpu": not cuda,
        "dataloader_pin_memory": False,
        "eval_strategy": "epoch" if validate else "no",
        "save_total_limit": 2,
        "seed": config.seed,
        "logging_steps": 10,
        "report_to": ["tensorboard"] if tensorboard_installed() else [],
        "disable_tqdm": True,
        **saving,
    }


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end."""
    steps = {int(p.name.rpartition("-")[2]): p for p in folder.glob("checkpoint-*")}
    for step in sorted(steps, reverse=True):
        try:
            state = json.loads((steps[step] / "trainer_state.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue  # killed while it was written
        if state.get("global_step") == step:
            return steps[step]
    return None
