"""Fit a causal adapter: TRL's SFTTrainer with peft's LoRA, on a base in 4 bits or not (QLoRA)."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.lora import LoraLayer
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from ..errors import UsageError
from ..models.base_weights import weight_files
from ..progress import Progress, StopRequest
from ..scorers.causal.load import load_base
from ..train_config import TrainConfig
from .arguments import common_arguments, one_gpu
from .callbacks import (
    KEPT_EPOCH,
    OneStandardErrorRule,
    ProgressCallback,
    ResumableShuffle,
    SaveEveryNSteps,
    StopEarly,
    StopOnNonFiniteLoss,
    SynchronizedShuffle,
    stopped_early,
)
from .causal_dataset import PackedCollator
from .checkpoints import CHECKPOINTS, last_checkpoint, state_of
from .distributed import ProcessGroup
from .layers.lora import arrange_for_training, check_layers
from .micro_batch import MicroBatch
from .packed_trainer import GraphedTrainer, PackedTrainer, flat_shareable

_SLOW_ON_A_CPU = 2 * 10**9
"""Bytes of a base from which its training on a CPU is no matter of minutes."""

logger = logging.getLogger(__name__)


def base_model(config: TrainConfig, base: Path, device: str, compute: torch.dtype) -> Any:
    """Load the base on a device, in 4 bits or in `compute`."""
    size = sum(file.stat().st_size for file in weight_files(base))
    if device == "cpu" and size > _SLOW_ON_A_CPU:
        logger.warning(
            "no CUDA GPU here: training a base of %.0f GB on the CPU, in fp32, which is slow; "
            "finsent-batch doctor shows what this machine can run",
            size / 1e9,
        )
    nf4 = config.quantisation == "nf4"
    model = load_base(base, nf4=nf4, device=device, compute=compute)
    if not nf4:
        model = model.to(compute)
    model.config.use_cache = False
    return model


def adapted(config: TrainConfig, model: Any, compute: torch.dtype) -> Any:
    """Return a base with a fresh LoRA adapter on all its linear layers, or those named, in fp32.

    Its layers compute in `compute`.

    Raises:
        UsageError: there are no layers of a name given.
    """
    if config.quantisation == "nf4":
        # Recomputing activations is the trainer's to switch on.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=_targets(config),
    )
    try:
        model = get_peft_model(model, lora)
    except ValueError as error:  # its message names the layers that there are not
        advice = ""
        if "ParamWrapper" in str(error):
            advice = (
                ": experts are no linear layers; use --target-modules q_proj,k_proj,v_proj,o_proj"
            )
        raise UsageError(f"--target-modules {config.target_modules}: {error}{advice}") from None
    check_layers(config.base or "", model)
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if any(isinstance(end, LoraLayer) for end in ends):
        raise UsageError(
            f"--target-modules {config.target_modules}: embeddings and the head over the "
            "vocabulary are not adapted: name linear layers of the decoder, such as q_proj,v_proj"
        )
    arrange_for_training(model, compute)
    return model


def _targets(config: TrainConfig) -> str | list[str]:
    """Return what peft puts the adapter on; other text than `all-linear` it takes for a pattern."""
    named = config.target_modules
    return named if named == "all-linear" else [name.strip() for name in named.split(",")]


def fit_causal(
    config: TrainConfig,
    model: Any,
    tokenizer: Any,
    sets: dict[str, Dataset],
    batch: MicroBatch,
    collator: PackedCollator | None,
    progress: Progress,
    stop: StopRequest,
    ranks: ProcessGroup,
) -> list[dict[str, Any]]:
    """Train `model` in place on `sets["train"]`; keep the epoch best on `sets["valid"]`.

    `batch` is one process's share of the effective batch, `ranks` who the processes are.
    Without a `collator` rows are padded as TRL does it. With `resume` goes on from
    the last checkpoint of those that `start_checkpoints` has found fit. Returns what was
    logged, a list of entries by step; nothing but in the first process.

    Raises:
        InterruptedRunError: at the `stop` asked for, once a checkpoint is written.
    """
    # Absolute: a checkpoint names the best one, and may be resumed from another folder.
    folder = config.output.resolve() / CHECKPOINTS
    last = last_checkpoint(folder) if config.resume else None
    validate = len(sets["valid"]) > 0
    arguments = SFTConfig(
        **_arguments(config, folder, batch, len(sets["train"]) / ranks.world, validate=validate)
    )
    one_gpu(arguments)
    state = None if last is None else state_of(last)
    if state is not None and (done := _epochs_if_over(config, state)) is not None:
        arguments.num_train_epochs = done
    trainer = _trainer_for(config, collator, ranks)(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=sets["train"],
        eval_dataset=sets["valid"] if validate else None,
        data_collator=collator,
        callbacks=[
            *([ProgressCallback(progress)] if ranks.first else []),
            *([SynchronizedShuffle()] if ranks.world > 1 else []),
            StopOnNonFiniteLoss(),
            ResumableShuffle(state),
            SaveEveryNSteps(config.save_steps, stop, ranks),
            *_validation_callbacks(config, len(sets["valid"])),
        ],
    )
    # TRL rounds a QLoRA adapter to bf16; small steps would be lost in it.
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    trainer.remove_callback(PrinterCallback)
    # cuDNN's attention makes a plan for every shape that comes up, at milliseconds a layer.
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    return _history(trainer) if ranks.first else []


def _trainer_for(
    config: TrainConfig, collator: PackedCollator | None, ranks: ProcessGroup
) -> Callable[..., SFTTrainer]:
    """Return what makes the trainer: TRL's own for padded rows."""
    if collator is None:
        return SFTTrainer
    if collator.recorded or (ranks.world > 1 and flat_shareable(config)):
        return partial(GraphedTrainer, recorded=collator.recorded)
    return PackedTrainer


def _history(trainer: Any) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = trainer.state.log_history
    return [*history, _gpu_memory()] if torch.cuda.is_available() else history


def _gpu_memory() -> dict[str, float]:
    """Return the GB that training held at most, and had reserved at most, on the GPU."""
    return {
        "peak_gpu_gb": torch.cuda.max_memory_allocated() / 1e9,
        "peak_gpu_reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
    }


def _validation_callbacks(config: TrainConfig, rows: int) -> list[TrainerCallback]:
    """Return what looks at each validation, in this order, on `rows` rows."""
    callbacks: list[TrainerCallback] = [OneStandardErrorRule(rows)] if rows else []
    if config.early_stopping_patience is not None:
        callbacks.append(StopEarly(config.early_stopping_patience))
    return callbacks


def _arguments(
    config: TrainConfig, folder: Path, batch: MicroBatch, rows: float, *, validate: bool
) -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    # `save_steps` is `SaveEveryNSteps`'s: transformers would not keep the best epoch with its own.
    saving: dict[str, Any] = {"save_strategy": "epoch"}
    if validate:
        best = {"metric_for_best_model": KEPT_EPOCH, "greater_is_better": True}
        saving |= {"load_best_model_at_end": True, **best}
    common = common_arguments(
        config, folder, rows, size=batch.size, accumulation=batch.accumulation
    )
    return common | {
        "per_device_eval_batch_size": batch.size,
        "gradient_checkpointing": batch.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "label_smoothing_factor": config.label_smoothing_factor,
        "optim": config.optim,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "bf16": bf16,
        "fp16": cuda and not bf16,
        "use_cpu": not cuda,
        "dataloader_pin_memory": False,
        "eval_strategy": "epoch" if validate else "no",
        "save_total_limit": 2,
        "logging_steps": 10,
        "logging_nan_inf_filter": False,  # it would wait for the GPU in every step
        **saving,
    }


def _epochs_if_over(config: TrainConfig, state: dict[str, Any]) -> int | None:
    """Return the whole epochs of a training that was over when it was killed, else None.

    To be told so, the trainer adds no step to it.
    """
    patience = config.early_stopping_patience
    over = state["global_step"] >= state["max_steps"] or (
        patience is not None and stopped_early(state["log_history"], patience)
    )
    return int(state["epoch"]) if over else None
