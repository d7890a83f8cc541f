"""`finsent-batch merge`: an adapter folded into a dense checkpoint."""

from pathlib import Path

import click

from .options import file_path, with_foreign_options


@click.command()
@click.argument("model", metavar="MODEL_DIR")
@click.option("-o", "--output", required=True, type=file_path(dir_okay=True), help="New folder.")
@click.option("--overwrite", is_flag=True, default=False, help="Replace a model in the folder.")
@with_foreign_options
def merge(model: str, output: Path, overwrite: bool, **options: str | None) -> None:
    """Fold the adapter in MODEL_DIR into its causal base, as a dense checkpoint.

    The weights are those that the adapter was trained on, a 4-bit base's as
    dequantised, so that the checkpoint answers as base and adapter do. It is in the
    base's own precision (bf16 for 4 bits), loads in transformers, and with --model here.

    \b
    finsent-batch merge adapter -o merged
    """
    from finsent_batch.training.merge import merge as run_merge

    files = run_merge(model, output, overwrite=overwrite, **options)
    size = sum(file.stat().st_size for file in files) / 1e9
    click.echo(f"wrote {len(files)} weight file(s), {size:.2f} GB, to {output}")
