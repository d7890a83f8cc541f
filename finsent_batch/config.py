"""Settings of every job: frozen dataclasses, the only home of a default.

The command line reads its `default=` from here, the Python API takes these
objects, and each run stores the settings it had.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DEFAULT_STORE: Final = Path("finsent.duckdb")
DEFAULT_MODEL: Final = "mini"
PROMOTED_MODEL: Final = "promoted"
"""The model that `models promote` made the store's default; `mini` where there is none."""
BASE: Final = "base"
"""What `--against` calls the base of a causal adapter."""
TEXT_COLUMNS: Final = ("headline", "title", "text", "sentence")
"""Names tried in this order when no text column is named."""
LABEL_COLUMNS: Final = ("label", "sentiment")
"""Names tried in this order for the label of labelled data."""
DATE_COLUMNS: Final = ("published_at", "date", "time", "scored_at")
"""Names tried in this order for the time of a headline in queries."""


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """Where scores are kept and how much memory planning and publishing may take."""

    path: Path = DEFAULT_STORE
    memory_limit: str = "512MB"
    """What DuckDB may hold before it spills to disk; the model's memory comes on top."""
    lock_wait: float = 0.0
    """Seconds to wait for another process that holds the store."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model scores, on what, in which arithmetic."""

    model: str = PROMOTED_MODEL
    """`promoted`, `mini`, a model directory, or a Hub id: 3-class classifier or causal model."""
    device: str = "auto"
    weights: str = "auto"
    max_batch_tokens: int | None = None
    """Padded tokens in one forward pass; None takes the scorer's measured default."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """One `score` run."""

    input: str
    output: Path | None = None
    text_column: str | None = None
    table: str | None = None
    output_table: str | None = None
    append: bool = False
    """Share `output_table` with other inputs: replace the rows this input published there
    earlier, leave those of others."""
    model: ModelConfig = field(default_factory=ModelConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    engine: str = "auto"
    """Who runs the model: this process (`local`), actors of `ray`, or Ray where there are several
    GPUs (`auto`)."""
    ray_address: str | None = None
    """A running Ray cluster to join, such as `auto` or `10.0.0.1:6379`; None starts Ray here."""
    actors: int | None = None
    """The most actors that Ray may start; None takes all that there is room for."""
    cpus_per_actor: int = 1
    """CPU cores of each actor; a GPU is one actor's alone."""
    limit: int | None = None
    """Read only the first rows of each input file."""
    replace_columns: bool = False
    overwrite: bool = False
    max_bad_rows: int = 0
    """CSV rows that do not parse and may be set aside in `quarantine` before the run fails."""
    encoding: str = "utf-8"
    min_confidence: float | None = None
    """Adds the column `sentiment_confident`: the label where its probability is at least this."""
    store_text: bool = True
    commit_seconds: float = 5.0
    """The most scoring time, in seconds, that a killed run can lose."""
    publish_wait: float = 60.0
    """Seconds to wait, once all is scored, for an output that another process holds."""
    metrics_file: Path | None = None
    """Prometheus text file to replace at the end, however the run ends."""
    notify_command: str | None = None
    """Command, split as a shell would but run without one, that gets the summary on stdin."""
    notify_seconds: float = 60.0
    """How long that command may take."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Labelled data in, train/valid/test out."""

    sources: tuple[Path, ...]
    output: Path
    recipe: str = "clean"
    text_column: str | None = None
    label_column: str | None = None
    label_map: tuple[tuple[str, str], ...] = ()
    encoding: str | None = None
    exclude: tuple[Path, ...] = ()
    """Labelled files none of whose headlines may enter any split."""
    valid_size: float = 0.05
    test_size: float = 0.1
    seed: int = 42
    overwrite: bool = False


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
    # The settings of the Llama 2 tutorial on FinancialPhraseBank (README, "Fine-tuning Llama 2").
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


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Accuracy of a model on labelled data, alone or beside another."""

    data: Path
    output: Path
    model: ModelConfig = field(default_factory=ModelConfig)
    against: str | None = None
    gates: tuple[str, ...] = ()
    text_column: str | None = None
    label_column: str | None = None
    label_map: tuple[tuple[str, str], ...] = ()
    encoding: str | None = None
    store: StoreConfig | None = None
    """Where to record the figures; None records them only in `output`."""


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Two models on the same headlines, labelled or not."""

    data: Path
    one: ModelConfig = field(default_factory=ModelConfig)
    other: str
    """The second model; device and arithmetic are those of the first."""
    output: Path | None = None
    """Where to write every flip, as Parquet, CSV or JSON; None writes none."""
    text_column: str | None = None
    label_column: str | None = None
    label_map: tuple[tuple[str, str], ...] = ()
    encoding: str | None = None
    limit: int | None = None
    """Read only the first rows."""
    resamples: int = 10_000
    """Bootstrap samples behind the 95 % intervals."""
    seed: int = 0
    store: StoreConfig = field(default_factory=StoreConfig)
    """Whose promoted model `promoted` means."""


@dataclass(frozen=True, kw_only=True)
class PromoteConfig:
    """A model to become a store's default, if it passes its gates."""

    model: ModelConfig
    data: Path
    store: StoreConfig = field(default_factory=StoreConfig)
    gates: tuple[str, ...] = ("no-regression",)
    output: Path | None = None
    """Where to keep the evaluation; None keeps its figures in the store only."""
    text_column: str | None = None
    label_column: str | None = None
    label_map: tuple[tuple[str, str], ...] = ()
    encoding: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """A report on one run."""

    store: StoreConfig = field(default_factory=StoreConfig)
    run: str | None = None
    """A run's id or its beginning; None takes the latest."""
    output: Path | None = None
    format: str | None = None
    """`html`, `md` or `json`; None goes by the output's suffix."""
    gates: tuple[str, ...] = ()
    baseline_runs: int = 14
    """How many earlier runs of the same model the run is compared with."""
    headlines: int = 10
    """How many of the most negative and of the most positive headlines are shown."""
    date_column: str | None = None
