"""Settings of training and its presets, a frozen dataclass as in `config.py`.

A field's `family` in its metadata says that only causal models, or only encoders, have the
setting: what checks, records or describes settings reads it there, through `settings_of`.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from .settings import Settings

CAUSAL: Final = "causal"
ENCODER: Final = "encoder"
_CAUSAL: Final = {"family": CAUSAL}
_ENCODER: Final = {"family": ENCODER}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """Fine-tuning of an adapter; names as in transformers and peft.

    The values are those the shipped adapter `mini` was trained with; `for_preset`
    gives another preset's.
    """

    data: tuple[Path, ...]
    """Folders that `prepare` made; `review:STORE` stands for one of a store's reviews."""
    output: Path
    preset: str = "mini"
    base: str | None = None
    """A Hugging Face directory or Hub id; None takes the packaged MiniLM."""
    quantisation: str | None = field(default=None, metadata=_CAUSAL)
    """`nf4` trains on the base in 4 bits, scales quantized again (QLoRA)."""
    loss: str = field(default="label", metadata=_CAUSAL)
    """What a causal model's loss counts: the `label` word alone, or the `full-text`."""
    base_dropout: float | None = field(default=None, metadata=_ENCODER)
    """Dropout inside the base while it trains; None leaves what its config.json says, which a model
    trained whole keeps. Soft labels in their hundred thousands are learnt better without any."""
    pooling: str = field(default="mean", metadata=_ENCODER)
    """What the classifier reads: the `mean` of the token states, or `cls`, BERT's own pooler."""
    learning_rate: float = 1e-3
    num_train_epochs: float = 3.0
    per_device_train_batch_size: int = 32
    gradient_accumulation_steps: int = 1
    lr_scheduler_type: str = "cosine"
    warmup_ratio: float = 0.06
    optim: str = field(default="auto", metadata=_CAUSAL)
    """`auto` takes adamw_torch on a CPU; on CUDA adamw_torch_fused, but for a 4-bit base where
    memory is short (a GPU of less than 40 GB, or a memory budget) paged_adamw_32bit."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    label_smoothing_factor: float = 0.05
    ema_decay: float = field(default=0.0, metadata=_ENCODER)
    """Decay, a step, of the running mean of weights that is kept; 0 keeps the last weights."""
    lora_r: int = 64
    lora_alpha: int = 64
    lora_dropout: float = 0.1
    target_modules: str = field(default="all-linear", metadata=_CAUSAL)
    """Linear layers that the adapter is on: all, or names with commas between."""
    class_weights: str = "sqrt"
    """`balanced` weighs classes inversely to their frequency within each data folder; `sqrt` does
    so in the first and by the root of it in the others; `none` does not."""
    opposites: bool = True
    """Add the opposites of the first folder's positive and negative headlines (`opposites.py`)."""
    repeat_first: int = 2
    """How often an epoch goes through the first data folder, the one the model is meant for."""
    soft_labels: tuple[Path, ...] = field(default=(), metadata=_ENCODER)
    """Parquet tables that `score` wrote: what teachers answered; several are averaged."""
    soft_weight: float = field(default=0.5, metadata=_ENCODER)
    """The teachers' share in the target of a labelled row that they answered too."""
    soft_neutral_share: float = field(default=1.0, metadata=_ENCODER)
    """The share of confidently neutral headlines (P of 0.9 and more) that soft labels keep."""
    soft_text_column: str | None = field(default=None, metadata=_ENCODER)
    """The headline column of `soft_labels`; None takes the first usual name."""
    exclude: tuple[Path, ...] = field(default=(), metadata=_ENCODER)
    """Labelled tables, besides the folders' validation and test rows, that no soft label may
    repeat."""
    drop_held_out: bool = field(default=False, metadata=_ENCODER)
    """Leave out soft labels that repeat held-out rows; else they are an error."""
    repeat_labelled: int = field(default=1, metadata=_ENCODER)
    """How often an epoch goes through the labelled rows, beside soft labels."""
    max_length: int = 128
    auto_batch: bool = field(default=False, metadata=_CAUSAL)
    """Cut the effective batch, batch size times accumulation, into the largest micro-batches that
    memory allows, and leave gradient checkpointing out where it fits without."""
    gradient_checkpointing: bool = field(default=False, metadata=_CAUSAL)
    memory_budget: str | None = field(default=None, metadata=_CAUSAL)
    """GPU memory that training may take, such as 16GB; None takes what is free."""
    early_stopping_patience: int | None = field(default=None, metadata=_CAUSAL)
    """Epochs without a better validation accuracy after which to stop; None goes to the end."""
    save_steps: int | None = None
    """Optimizer steps between checkpoints besides those at the end of each epoch."""
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
    # All weights of an encoder: the teacher of a smaller one, or a model to score with on a GPU.
    "encoder": {"learning_rate": 3e-5},
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
ADAPTER_SETTINGS: Final = ("lora_r", "lora_alpha", "lora_dropout")
"""Settings that only adapters have."""
SOFT_SETTINGS: Final = ("soft_weight", "soft_neutral_share", "repeat_labelled")
"""Settings that mean something beside `soft_labels` alone."""
FULL_PRESETS: Final = ("encoder",)
"""Those that train all weights of an encoder, and no adapter."""
CAUSAL_PRESETS: Final = ("llama2-7b",)
"""Those that fine-tune a causal model on a prompt; the others an encoder."""


def family_of(preset: str) -> str:
    """Return which family a preset trains, `causal` or `encoder`."""
    return CAUSAL if preset in CAUSAL_PRESETS else ENCODER


def presets_of(family: str) -> tuple[str, ...]:
    """Return the presets that train a family."""
    return tuple(preset for preset in TRAIN_PRESETS if family_of(preset) == family)


def settings_of(family: str) -> tuple[str, ...]:
    """Return the settings that only models of a family have."""
    return tuple(f.name for f in fields(TrainConfig) if f.metadata.get("family") == family)
