"""`finsent-batch models`: which models are known, and which one is the store's default."""

from pathlib import Path
from typing import Any

import click

from finsent_batch.config import ModelConfig, PromoteConfig

from .options import file_path, labelled_options, model_run_options, take_format
from .terminal import print_table, progress_bar


@click.group(invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> None:
    """List the embedded model and every model the store has scores of; promote one.

    \b
    finsent-batch models
    finsent-batch models promote my-model --data test.parquet --gate "accuracy>=0.8"
    """
    if ctx.invoked_subcommand is None:
        from finsent_batch.models.registry import list_models

        rows = list_models(ctx.obj.store)
        print_table(list(rows[0]), [list(row.values()) for row in rows])


@models.command()
@click.argument("model")
@click.option("--data", type=file_path(), required=True, help="Labelled .parquet, .csv or .txt.")
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="EXPR",
    default=PromoteConfig.gates,
    help="As for evaluate; no-regression compares with the present default. Repeatable.",
)
@click.option(
    "-o", "--output", type=file_path(dir_okay=True), help="Keep the evaluation in this folder."
)
@model_run_options
@labelled_options
@click.pass_obj
def promote(
    obj: Any,
    /,
    model: str,
    device: str,
    weights: str,
    max_batch_tokens: int | None,
    data: Path,
    gates: tuple[str, ...],
    **options: Any,
) -> None:
    """Make MODEL the one that score takes when none is named, if it passes its gates.

    \b
    finsent-batch models promote my-model --data test.parquet
    finsent-batch models promote my-model --data t.parquet --gate "per_class.negative.recall>=0.8"
    """
    from finsent_batch.evaluation.promote import promote as run_promote

    how = take_format(options)
    config = PromoteConfig(
        model=ModelConfig(
            model=model, device=device, weights=weights, max_batch_tokens=max_batch_tokens
        ),
        data=data,
        gates=gates,
        store=obj.store,
        format=how,
        **options,
    )
    with progress_bar(quiet=obj.quiet) as progress:
        promoted = run_promote(config, progress=progress)
    click.echo(
        f"{promoted.model} ({promoted.weights}) passed {', '.join(gates)}: it is the default of "
        f"{obj.store.path} now"
    )


@models.command()
@click.pass_obj
def rollback(obj: Any) -> None:
    """Withdraw the last promotion: the model before it is the default again.

    \b
    finsent-batch models rollback
    """
    from finsent_batch.models.registry import roll_back

    withdrawn, now = roll_back(obj.store)
    click.echo(f"{withdrawn.model} is withdrawn; the default of {obj.store.path} is {now} now")
