"""`finsent-batch train`: fine-tune an adapter."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from finsent_batch.train_config import (
    CAUSAL,
    ENCODER,
    TRAIN_PRESETS,
    TrainConfig,
    settings_of,
)

from .options import FiniteFloat, Globals, file_path
from .parsing.grouped import GroupedCommand
from .tables.formats import print_table
from .terminal import progress_bar, say, stop_on_signals

Command = Callable[..., Any]


def _setting(name: str, kind: Any, text: str = "") -> Callable[[Command], Command]:
    """Return the option of a setting whose default is the preset's."""
    default = getattr(TrainConfig, name)
    others = [
        f"{preset}: {values[name]}"
        for preset, values in TRAIN_PRESETS.items()
        if values.get(name, default) != default
    ]
    common = [] if default is None else [str(default)]
    shown = ", ".join([*common, *others])
    note = f"{text}{_whose(name)}"
    note = f"{note}  [default: {shown}]".strip() if shown else note.strip()
    return click.option(f"--{name.replace('_', '-')}", type=kind, default=None, help=note)


def _switch(name: str, text: str, default: str = "") -> Callable[[Command], Command]:
    flag = name.replace("_", "-")
    note = f"{text}{_whose(name)}" + (f"  [default: {default}]" if default else "")
    return click.option(f"--{flag}/--no-{flag}", default=None, help=note)


def _whose(name: str) -> str:
    """Return what the help adds to a setting that one family alone has."""
    families = {CAUSAL: " Causal models only.", ENCODER: " Encoders only."}
    return next((note for family, note in families.items() if name in settings_of(family)), "")


_SETTINGS = (
    _setting("learning_rate", FiniteFloat(min=0, min_open=True), "Learning rate at its peak."),
    _setting("num_train_epochs", FiniteFloat(min=0, min_open=True),
             "Passes over the training rows."),
    _setting("per_device_train_batch_size", click.IntRange(min=1),
             "Rows in one forward and backward pass on one device."),
    _setting("gradient_accumulation_steps", click.IntRange(min=1),
             "Passes whose gradients make one optimizer step."),
    _switch("auto_batch", "Split the effective batch into the largest micro-batches that fit.",
            "llama2-7b: yes"),
    _switch("gradient_checkpointing",
            "Recompute activations to save memory; only with --no-auto-batch."),
    _setting("memory_budget", str,
             "GPU memory that training may use, such as 16GB.  [default: all that is free]"),
    _setting("lr_scheduler_type",
             click.Choice(["cosine", "linear", "constant", "constant_with_warmup"]),
             "How the learning rate changes after the warm-up."),
    _setting("warmup_ratio", FiniteFloat(0, 1), "Share of the steps during which the rate rises."),
    _setting("optim", click.Choice(["auto", "adamw_torch", "adamw_torch_fused",
                                    "paged_adamw_32bit", "paged_adamw_8bit"]),
             "Optimizer; auto: paged_adamw_32bit for a 4-bit base on CUDA."),
    _setting("weight_decay", FiniteFloat(min=0), "Weight decay of AdamW."),
    _setting("max_grad_norm", FiniteFloat(min=0), "Gradients are clipped to this norm."),
    _setting("label_smoothing_factor", FiniteFloat(0, 1), "Probability taken from the true label."),
    _setting("ema_decay", FiniteFloat(0, 1),
             "Keep a running mean of the weights with this decay; 0 keeps the last weights."),
    _setting("lora_r", click.IntRange(min=1), "Rank of the adapter."),
    _setting("lora_alpha", click.IntRange(min=1), "Scale of the adapter: alpha / r."),
    _setting("lora_dropout", FiniteFloat(0, 1, max_open=True), "Dropout before the adapter."),
    _setting("target_modules", str,
             "Layers that get an adapter, such as q_proj,v_proj."),
    _setting("base_dropout", FiniteFloat(0, 1, max_open=True),
             "Dropout inside the base.  [default: what its config.json says]"),
    _setting("class_weights", click.Choice(["none", "balanced", "sqrt"]),
             "How much more rare labels count; for a causal model, balanced repeats their rows."),
    _switch("opposites", "Also train on reversed headlines (rises: falls) of the first folder.",
            "mini: yes"),
    _setting("repeat_first", click.IntRange(min=1),
             "How many times an epoch contains the first folder's rows."),
    _setting("repeat_labelled", click.IntRange(min=1),
             "How often an epoch shows the labelled rows, beside soft labels."),
    _setting("soft_weight", FiniteFloat(0, 1),
             "Teachers' share in the target of a labelled row that they answered."),
    _setting("soft_neutral_share", FiniteFloat(0, 1),
             "Share of confidently neutral headlines that soft labels keep."),
    _setting("soft_text_column", str, "Headline column of the soft labels."),
    _setting("max_length", click.IntRange(min=8),
             "Tokens of a row; a longer headline is cut at its end."),
    _setting("pooling", click.Choice(["mean", "cls"]),
             "What the classifier reads: the mean of all tokens, or the first one."),
    _setting("quantisation", click.Choice(["nf4", "none"]),
             "Keep the base in 4 bits, with double quantization."),
    _setting("loss", click.Choice(["label", "full-text"]),
             "What the loss covers: the label's words, or the whole prompt."),
    _setting("early_stopping_patience", click.IntRange(min=1),
             "Stop after this many epochs without a better validation accuracy."),
    _setting("save_steps", click.IntRange(min=1),
             "Also write a checkpoint every so many steps, not only after each epoch."),
    _setting("report_to", click.Choice(["tensorboard", "none"]),
             "Where to log besides training_log.json, if it is installed."),
    _setting("seed", int, "Decides the order of rows, dropout and new weights."),
    _setting("threads", click.IntRange(min=1), "CPU threads.  [default: all cores]"),
)  # fmt: skip


_GROUPS = {
    "What to train": (
        "data", "output", "preset", "base", "learning-rate", "num-train-epochs", "seed",
        "resume", "overwrite", "show-config",
    ),
    "Batches and memory": (
        "per-device-train-batch-size", "gradient-accumulation-steps", "auto-batch",
        "gradient-checkpointing", "memory-budget", "max-length", "quantisation", "threads",
    ),
    "Optimizer": (
        "optim", "lr-scheduler-type", "warmup-ratio", "weight-decay", "max-grad-norm",
        "label-smoothing-factor", "ema-decay", "early-stopping-patience",
    ),
    "Model": (
        "lora-r", "lora-alpha", "lora-dropout", "base-dropout", "target-modules", "pooling",
        "loss",
    ),
    "Training rows": ("class-weights", "opposites", "repeat-first", "repeat-labelled"),
    "Soft labels": (
        "soft-labels", "exclude", "drop-held-out", "soft-weight", "soft-neutral-share",
        "soft-text-column",
    ),
    "Checkpoints and logs": ("save-steps", "report-to"),
}  # fmt: skip


def _settings(command: Command) -> Command:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@click.command(cls=GroupedCommand, groups=_GROUPS)
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=file_path(dir_okay=True),
    help="Folder made by prepare, or review: for the store's reviews, or review:STORE for "
    "another's. Repeatable: rows of all folders are mixed.",
)
@click.option(
    "-o", "--output", required=True, type=file_path(dir_okay=True), help="Model folder to write."
)
@click.option(
    "--preset",
    type=click.Choice(list(TRAIN_PRESETS)),
    default=TrainConfig.preset,
    help="mini: an adapter of an encoder, on a CPU; encoder: all weights of one; llama2-7b: QLoRA "
    "of a causal model.",
)
@click.option(
    "--soft-labels",
    multiple=True,
    type=file_path(),
    help="Parquet that score wrote: learn its probabilities too. Repeatable; averaged.",
)
@click.option(
    "--exclude",
    multiple=True,
    type=file_path(),
    help="Labelled table that no soft label may repeat, as validation and test rows. Repeatable.",
)
@click.option(
    "--drop-held-out",
    is_flag=True,
    default=False,
    help="Leave out soft labels that repeat held-out rows, instead of ending with an error.",
)
@click.option(
    "--base",
    help="Base model: a directory or Hub id.  [default: packaged all-MiniLM-L6-v2, "
    f"llama2-7b: {TRAIN_PRESETS['llama2-7b']['base']}]",
)
@_settings
@click.option(
    "--resume",
    is_flag=True,
    default=False,
    help=f"Continue from the last checkpoint.{_whose('resume')}",
)
@click.option("--overwrite", is_flag=True, default=False, help="Replace a model in the folder.")
@click.option("--show-config", is_flag=True, default=False, help="Print all settings and exit.")
@click.pass_obj
def train(
    obj: Globals, /, data: tuple[Path, ...], preset: str, show_config: bool, **options: Any
) -> None:
    """Fine-tune a LoRA adapter on the folders that prepare made.

    Writes the adapter, its manifest finsent.json and a model card. The preset
    `mini` trains an encoder like the embedded model; `llama2-7b` trains a causal
    model as the tutorial does, with QLoRA, for any base named by --base.

    \b
    finsent-batch train --data split --preset mini -o my-model
    finsent-batch train --data split --preset llama2-7b --base llama-dir -o adapter
    finsent-batch score news.parquet --model my-model
    """
    reviews = {Path("review:"): Path(f"review:{obj.store.path}")}
    data = tuple(reviews.get(folder, folder) for folder in data)
    given = {name: value for name, value in options.items() if value is not None}
    config = TrainConfig.for_preset(preset, data=data, **given)
    from finsent_batch.training.train import resolved

    if show_config:
        settings = asdict(resolved(config))
        rows = [[k, _shown(v)] for k, v in settings.items()]
        print_table(["setting", "value"], rows, wraps=True)
        return
    from finsent_batch.progress import StopRequest
    from finsent_batch.training.train import train as run_train

    stop = StopRequest()
    stop_on_signals(stop)
    with progress_bar(quiet=obj.quiet) as progress:
        report = run_train(config, progress=progress, stop=stop)
    if not report or obj.quiet:
        return  # of several processes the first one prints
    print_table(
        ["split", "rows", "accuracy", "macro F1", "weighted F1", "calibration error"],
        [
            [name, m["n"], m["accuracy"], m["macro_f1"], m["weighted_f1"], m["ece"]]
            for name, m in report.items()
        ],
    )
    say(f"wrote {config.output}")
