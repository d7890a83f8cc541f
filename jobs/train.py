"""`finsent-batch train`: fine-tune an adapter."""

from pathlib import Path
from typing import Any

import click

from finsent_batch.config import TrainConfig

from .options import file_path
from .terminal import print_table, progress_bar


@click.command()
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=file_path(dir_okay=True),
    help="Folder made by prepare. Repeatable; folders are mixed.",
)
@click.option("-o", "--output", required=True, type=file_path(dir_okay=True), help="Model folder.")
@click.option("--preset", type=click.Choice(["mini"]), default=TrainConfig.preset)
@click.option("--base", help="Encoder directory or Hub id.  [default: packaged all-MiniLM-L6-v2]")
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls"]),
    default=TrainConfig.pooling,
    help="What the classifier reads: the mean of all tokens, or [CLS].",
)
@click.option("--learning-rate", type=float, default=TrainConfig.learning_rate)
@click.option("--num-train-epochs", type=float, default=TrainConfig.num_train_epochs)
@click.option(
    "--per-device-train-batch-size",
    type=click.IntRange(min=1),
    default=TrainConfig.per_device_train_batch_size,
)
@click.option(
    "--gradient-accumulation-steps",
    type=click.IntRange(min=1),
    default=TrainConfig.gradient_accumulation_steps,
)
@click.option("--warmup-ratio", type=click.FloatRange(0, 1), default=TrainConfig.warmup_ratio)
@click.option("--weight-decay", type=float, default=TrainConfig.weight_decay)
@click.option("--max-grad-norm", type=float, default=TrainConfig.max_grad_norm)
@click.option(
    "--label-smoothing-factor",
    type=click.FloatRange(0, 1),
    default=TrainConfig.label_smoothing_factor,
)
@click.option(
    "--ema-decay",
    type=click.FloatRange(0, 1),
    default=TrainConfig.ema_decay,
    help="Decay of the running mean of weights that is kept; 0 keeps the last weights.",
)
@click.option("--lora-r", type=click.IntRange(min=1), default=TrainConfig.lora_r)
@click.option("--lora-alpha", type=click.IntRange(min=1), default=TrainConfig.lora_alpha)
@click.option("--lora-dropout", type=click.FloatRange(0, 1), default=TrainConfig.lora_dropout)
@click.option(
    "--class-weights",
    type=click.Choice(["none", "balanced", "sqrt"]),
    default=TrainConfig.class_weights,
)
@click.option(
    "--opposites/--no-opposites",
    default=TrainConfig.opposites,
    help="Add headlines of the first folder turned around.",
)
@click.option(
    "--repeat-first",
    type=click.IntRange(min=1),
    default=TrainConfig.repeat_first,
    help="Passes an epoch makes over the first --data folder.",
)
@click.option("--max-length", type=click.IntRange(min=8), default=TrainConfig.max_length)
@click.option("--seed", type=int, default=TrainConfig.seed)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option("--overwrite", is_flag=True, default=False, help="Replace a model in the folder.")
@click.pass_obj
def train(obj: Any, data: tuple[Path, ...], **options: Any) -> None:
    """Fine-tune a LoRA adapter on the folders that prepare made.

    Writes the adapter, finsent.json and a model card. The defaults are those
    the embedded model was trained with.

    \b
    finsent-batch train --data split --preset mini -o my-model
    finsent-batch score news.parquet --model my-model
    """
    from finsent_batch.training import train as run_train

    config = TrainConfig(data=data, **options)
    with progress_bar(quiet=obj.quiet) as progress:
        report = run_train(config, progress=progress)
    print_table(
        ["split", "rows", "accuracy", "macro F1", "weighted F1", "calibration error"],
        [
            [name, m["n"], m["accuracy"], m["macro_f1"], m["weighted_f1"], m["ece"]]
            for name, m in report.items()
        ],
    )
    click.echo(f"wrote {config.output}")
