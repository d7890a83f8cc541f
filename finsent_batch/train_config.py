"""Settings of training and its presets, a frozen dataclass as in `config.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Fine-tuning of an adapter; names as in transformers and peft.

    The values are those the shipped adapter `mini` was trained with; `for_preset`
    gives another preset's.
    """

    data: tuple[Path, ...]
    output: Path
    preset: str = "mini"
    base: str | None = None
    """A Hugging Face directory or Hub id; None takes the packaged MiniLM."""
    quantisation: str | None = None
    """`nf4` trains on the base in 4 bits, scales quantised again (QLoRA); causal models only."""
    loss: str = "label"
    """What a causal model's loss counts: the `label` word alone, or the `full-text`."""
    pooling: str = "mean"
    """What the classifier reads: the `mean` of the token states, or `cls`, BERT's own pooler."""
    learning_rate: float = 1e-3
    num_train_epochs: float = 3.0
    per_device_train_batch_size: int = 32
    gradient_accumulation_steps: int = 1
    lr_scheduler_type: str = "cosine"
    warmup_ratio: float = 0.06
    optim: str = "auto"
    """`auto` takes paged_adamw_32bit for a 4-bit base on CUDA, else adamw_torch; causal only."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    label_smoothing_factor: float = 0.05
    ema_decay: float = 0.0
    """Decay, a step, of the running mean of weights that is kept; 0 keeps the last weights."""
    lora_r: int = 64
    lora_alpha: int = 64
    lora_dropout: float = 0.1
    target_modules: str = "all-linear"
    """Linear layers that an adapter of a causal model is on: all, or names with commas between."""
    class_weights: str = "sqrt"
    """`balanced` weighs classes inversely to their frequency within each data folder; `sqrt` does
    so in the first and by the root of it in the others; `none` does not."""
    opposites: bool = True
    """Add the opposites of the first folder's positive and negative headlines (`opposites.py`)."""
    repeat_first: int = 2
    """How often an epoch goes through the first data folder, the one the model is meant for."""
    max_length: int = 128
    auto_batch: bool = False
    """Cut the effective batch, batch size times accumulation, into the largest micro-batches that
    memory allows, and leave gradient checkpointing out where it fits without."""
    gradient_checkpointing: bool = False
    memory_budget: str | None = None
    """GPU memory that training may take, such as 16GB; None takes what is free."""
    early_stopping_patience: int | None = None
    """Epochs without a better validation accuracy after which to stop; None goes to the end."""
    save_steps: int | None = None
    """Optimiser steps between checkpoints besides those at the end of each epoch."""
    resume: bool = False
    """Go on from the last checkpoint in the output folder."""
    report_to: str = "tensorboard"
    """Where logs go beside `training_log.json`: `tensorboard`, where it is installed, or `none`."""
    seed: int = 0
    threads: int | None = None
    """CPU threads for training; None takes all cores."""
    overwrite: bool = False

    @staticmethod
    def for_preset(preset: str, **given: Any) -> "TrainConfig":
        """Return a preset's settings with those given in their place; quantisation may be `none`.

        Raises:
            KeyError: no such preset.
        """
        if given.get("quantisation") == "none":
            given["quantisation"] = None
        return TrainConfig(**{"preset": preset, **TRAIN_PRESETS[preset], **given})


TRAIN_PRESETS: Final[dict[str, dict[str, Any]]] = {
    "mini": {},
    # The settings of the Llama 2 tutorial on FinancialPhraseBank (docs/training.md).
    "llama2-7b": {
        "base": "meta-llama/Llama-2-7b-hf",
        "quantisation": "nf4",
        "learning_rate": 2e-4,
        "num_train_epochs": 3.0,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "warmup_ratio": 0.03,
        "weight_decay": 0.001,
        "max_grad_norm": 0.3,
        "label_smoothing_factor": 0.0,
        "lora_r": 64,
        "lora_alpha": 16,
        "lora_dropout": 0.1,
        "class_weights": "none",
        "opposites": False,
        "repeat_first": 1,
        "max_length": 1024,
        "auto_batch": True,
        "gradient_checkpointing": True,
    },
}
"""What differs from `TrainConfig`'s defaults, by preset."""
CAUSAL_PRESETS: Final = ("llama2-7b",)
"""Those that fine-tune a causal model on a prompt; the others an encoder."""
