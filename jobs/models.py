"""`finsent-batch models`: which models are known, and which one is the store's default."""

from pathlib import Path
from typing import Any

import click

from finsent_batch.config import PromoteConfig

from .completion import complete_model
from .options import (
    Globals,
    file_path,
    labelled_options,
    model_config,
    model_run_options,
    take_format,
)
from .tables.formats import chosen_format, format_option, print_rows
from .terminal import progress_bar, say


@click.group(invoke_without_command=True)
@format_option
@click.pass_context
def models(ctx: click.Context, format_: str | None) -> None:
    """List the embedded models and every model with scores in the store; promote one.

    \b
    finsent-batch models
    finsent-batch models promote my-model --data test.parquet --gate "accuracy>=0.8"
    """
    if ctx.invoked_subcommand is None:
        from finsent_batch.models.registry import list_models

        rows = list_models(ctx.obj.store)
        values = [list(row.values()) for row in rows]
        dispensable = ("license", "base", "weights", "family", "scores", "last_scored")
        print_rows(list(rows[0]), values, chosen_format(format_), dispensable=dispensable)


@models.command()
@click.argument("model", shell_complete=complete_model)
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
@click.option(
    "--overwrite",
    is_flag=True,
    default=PromoteConfig.overwrite,
    help="Replace another evaluation in that folder.",
)
@model_run_options
@labelled_options
@click.pass_obj
def promote(
    obj: Globals,
    /,
    model: str,
    data: Path,
    gates: tuple[str, ...],
    **options: Any,
) -> None:
    """Make MODEL the default of score and evaluate, if it passes its gates.

    \b
    finsent-batch models promote my-model --data test.parquet
    finsent-batch models promote my-model --data t.parquet --gate "per_class.negative.recall>=0.8"
    """
    from finsent_batch.evaluation.promote import promote as run_promote

    how = take_format(options)
    config = PromoteConfig(
        model=model_config(model, options),
        data=data,
        gates=gates,
        store=obj.store,
        format=how,
        **options,
    )
    with progress_bar(quiet=obj.quiet) as progress:
        promoted = run_promote(config, progress=progress)
    say(
        f"{promoted.model} ({promoted.weights}) passed {', '.join(gates)}: it is the default of "
        f"{obj.store.path} now"
    )


@models.command()
@format_option
@click.pass_obj
def history(obj: Globals, format_: str | None) -> None:
    """List which model was the default when: every promotion, the latest first.

    \b
    finsent-batch models history
    """
    from finsent_batch.models.history import promotion_history

    rows = promotion_history(obj.store)
    if not rows:
        say("no model has been promoted: the default is mini", err=True)
        return
    values = [list(row.values()) for row in rows]
    dispensable = ("fingerprint", "weights", "macro_f1", "rows", "gates", "data")
    print_rows(list(rows[0]), values, chosen_format(format_), dispensable=dispensable)


@models.command()
@click.pass_obj
def rollback(obj: Globals) -> None:
    """Withdraw the last promotion; the model before it becomes the default again.

    \b
    finsent-batch models rollback
    """
    from finsent_batch.models.registry import roll_back

    withdrawn, now = roll_back(obj.store)
    say(f"{withdrawn.model} is withdrawn; the default of {obj.store.path} is {now} now")


@models.command()
@click.argument("model", shell_complete=complete_model)
@model_run_options
@format_option
@click.option(
    "--write",
    is_flag=True,
    default=False,
    help="Keep --base, --prompt, --quantisation and --model-labels in the model's directory, as "
    "finsent.json.",
)
def describe(model: str, write: bool, format_: str | None, **options: Any) -> None:
    """Say what MODEL is: a classifier's outputs; a causal model's base, prompt and tokens.

    \b
    finsent-batch models describe trained_weights
    finsent-batch models describe trained_weights --prompt mine.toml --write
    """
    from finsent_batch.evaluation.describe import adopt
    from finsent_batch.evaluation.describe import describe as run_describe

    config = model_config(model, options)
    facts = [list(fact) for fact in run_describe(config)]
    print_rows(["what", "found"], facts, chosen_format(format_), wraps=True)
    if write:
        say(f"wrote {adopt(config)}", err=True)


@models.command()
@click.argument("model", shell_complete=complete_model)
@click.option("-o", "--output", required=True, type=file_path(dir_okay=True), help="New folder.")
@click.option("--overwrite", is_flag=True, default=False, help="Replace a model in the folder.")
def convert(model: str, output: Path, overwrite: bool) -> None:
    """Write the pickled weights of MODEL, a directory or a Hub id, as safetensors.

    Only tensors are read from them, in a process without a network.

    \b
    finsent-batch models convert ProsusAI/finbert -o finbert
    """
    from finsent_batch.models.convert import convert as run_convert

    files = run_convert(model, output, overwrite=overwrite)
    size = sum(file.stat().st_size for file in files) / 1e9
    say(f"wrote {len(files)} weight file(s), {size:.2f} GB, to {output}")
