"""`finsent-batch merge`: merge an adapter into a dense checkpoint."""

from pathlib import Path
from typing import Any

import click

from finsent_batch.config import MergeConfig, ModelConfig
from finsent_batch.wording import counted

from .options import file_path, with_foreign_options
from .terminal import say


@click.command()
@click.argument("model", metavar="MODEL_DIR")
@click.option(
    "-o",
    "--output",
    required=True,
    type=file_path(dir_okay=True),
    help="New folder for the checkpoint.",
)
@click.option("--overwrite", is_flag=True, default=False, help="Replace a model in the folder.")
@with_foreign_options
def merge(model: str, output: Path, overwrite: bool, **options: Any) -> None:
    """Merge the adapter in MODEL_DIR into its causal base, as a dense checkpoint.

    The adapter is merged into the weights it was trained on (for a 4-bit base:
    the dequantized ones), so that the checkpoint gives the same answers as base
    and adapter. It has the precision of the base (bf16 for 4 bits) and can be
    loaded by transformers, and here with --model.

    \b
    finsent-batch merge adapter -o merged
    """
    from finsent_batch.training.merge import merge as run_merge

    config = MergeConfig(
        model=ModelConfig(model=model, **options), output=output, overwrite=overwrite
    )
    files = run_merge(config)
    size = sum(file.stat().st_size for file in files) / 1e9
    say(f"wrote {counted(len(files), 'weight file')}, {size:.2f} GB, to {output}")
