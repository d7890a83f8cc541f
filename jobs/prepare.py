"""`finsent-batch prepare`: labelled data into train, validation and test."""

from pathlib import Path
from typing import Any

import click

from finsent_batch.config import PrepareConfig

from .options import FiniteFloat, Globals, file_path, labelled_options, take_format
from .tables.formats import print_table
from .terminal import say


@click.command()
@click.argument("sources", nargs=-1, required=True, type=file_path(), metavar="SOURCE...")
@click.option(
    "-o", "--output", type=file_path(dir_okay=True), required=True, help="Folder for the split."
)
@click.option(
    "--recipe",
    type=click.Choice(["clean", "tutorial"]),
    default=PrepareConfig.recipe,
    help="clean: no duplicates, conflicts or leakage; tutorial: the tutorial's split, row by row.",
)
@labelled_options
@click.option(
    "--exclude",
    multiple=True,
    type=file_path(),
    help="Labelled file whose headlines are left out. Repeatable.",
)
@click.option(
    "--valid-size",
    type=FiniteFloat(0, 0.5),
    default=PrepareConfig.valid_size,
    help="Share of the rows for validation; recipe clean only.",
)
@click.option(
    "--test-size",
    type=FiniteFloat(0, 0.5),
    default=PrepareConfig.test_size,
    help="Share of the rows for testing; recipe clean only.",
)
@click.option(
    "--variations",
    type=click.IntRange(0, 1000),
    default=PrepareConfig.variations,
    help="Also write so many variations of each training headline, variations.parquet, to be "
    "scored by a teacher and given to train --soft-labels.",
)
@click.option("--seed", default=PrepareConfig.seed, help="Seed of the split; recipe clean only.")
@click.option("--overwrite", is_flag=True, default=False, help="Replace a split in the folder.")
@click.pass_obj
def prepare(
    obj: Globals,
    /,
    sources: tuple[Path, ...],
    exclude: tuple[Path, ...],
    **options: Any,
) -> None:
    """Split labelled headlines into train.parquet, valid.parquet and test.parquet.

    SOURCE is FinancialPhraseBank text, its Kaggle CSV, SEntFiN's CSV, or any CSV
    or Parquet file with a text and a label column. split.json records what was done.

    \b
    finsent-batch prepare all-data.csv -o split --recipe tutorial
    finsent-batch prepare mine.csv -o split --label-column tone --label-map 1=positive
    """
    from finsent_batch.labelled.splits import prepare as run_prepare

    how = take_format(options)
    config = PrepareConfig(sources=sources, format=how, exclude=exclude, **options)
    report: Any = run_prepare(config)
    if obj.quiet:
        return
    print_table(
        ["split", "rows", *report["labels"]["train"]],
        [[name, rows, *report["labels"][name].values()] for name, rows in report["rows"].items()],
    )
    if "removed" in report:
        removed = ", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in report["removed"].items())
        say(f"left out: {removed}")
    if "variations" in report:
        say(f"wrote {report['variations']:,} variations to {config.output}/variations.parquet")
    say(f"wrote {config.output}/{{train,valid,test}}.parquet and split.json")
