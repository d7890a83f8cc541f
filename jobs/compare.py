"""`finsent-batch compare`: where two models differ."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from finsent_batch.config import CompareConfig

from .completion import complete_model
from .options import (
    Globals,
    file_path,
    labelled_options,
    model_config,
    model_run_options,
    take_format,
)
from .tables.formats import print_table
from .terminal import progress_bar, say

if TYPE_CHECKING:
    from finsent_batch.evaluation.compare import Comparison

SHOWN_FLIPS = 20


@click.command()
@click.argument("one", shell_complete=complete_model)
@click.argument("other", shell_complete=complete_model)
@click.option("--data", type=file_path(), required=True, help="Headlines: .parquet, .csv or .txt.")
@click.option(
    "-o", "--output", type=file_path(), help="Write every flip as .parquet, .csv or .json."
)
@click.option("--limit", type=click.IntRange(min=1), help="Compare only the first rows.")
@click.option(
    "--summary",
    "summary_format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Format of the result on stdout; json is one object.",
)
@model_run_options
@labelled_options
@click.pass_obj
def compare(
    obj: Globals,
    /,
    one: str,
    other: str,
    summary_format: str,
    **options: Any,
) -> None:
    """Compare model OTHER with model ONE on the same headlines.

    What flips, and is it better? With a label column: accuracy and macro-F1 of both,
    McNemar's test and the 95 % interval of their difference. Without: how often they
    agree and how the labels shift.

    \b
    finsent-batch compare mini my-model --data split/test.parquet
    finsent-batch compare promoted my-model --data news.parquet -o flips.csv
    """
    from finsent_batch.evaluation.compare import compare as run_compare

    how = take_format(options)
    config = CompareConfig(
        one=model_config(one, options),
        other=other,
        store=obj.store,
        format=how,
        **options,
    )
    with progress_bar(quiet=obj.quiet) as progress:
        result = run_compare(config, progress=progress)
    if summary_format == "json":
        click.echo(json.dumps(result.to_dict(), ensure_ascii=False))
    elif not obj.quiet:
        _show(result, config.output)


def _show(result: "Comparison", output: Path | None) -> None:
    names = [f"{m['model']} ({m['weights']})" for m in result.models]
    rows: list[list[object]] = []
    if result.labelled is not None:
        for name in ("accuracy", "macro_f1", "weighted_f1", "ece"):
            rows.append([name.replace("_", " "), *(m[name] for m in result.labelled["models"])])
    for label in result.models[0]["labels"]:
        rows.append([f"called {label}", *(m["labels"][label] for m in result.models)])
    rows.append(["no answer", *(m["missing"] for m in result.models)])
    for name in ("mean_score", "mean_confidence"):
        rows.append([name.replace("_", " "), *(m[name] for m in result.models)])
    print_table(["", *names], rows)
    if result.flips.height:
        shown = result.flips.head(SHOWN_FLIPS).drop("one_model", "other_model")
        print_table(shown.columns, shown.rows(), title=f"flips, {shown.height} widest apart")
    kappa = result.agreement["kappa"]
    say(
        f"{result.n:,} headlines, {result.flipped_rows:,} flips: agreement "
        f"{result.agreement['share']:.2%}"
        + ("" if kappa is None else f", kappa {kappa:.3f}")
        + f", mean |change of score| {result.mean_absolute_change:.3f}"
    )
    if result.labelled is not None:
        _show_verdict(result.labelled)
    for warning in result.warnings:
        say(f"warning: {warning}", err=True)
    if output is not None:
        say(f"wrote {output}")


def _show_verdict(labelled: dict[str, Any]) -> None:
    test = labelled["mcnemar"]
    say(
        f"McNemar: {test['only_one']:.0f} right only by the first, {test['only_other']:.0f} only "
        f"by the second, p = {test['p_value']:.3g}"
    )
    for name, found in labelled["difference"].items():
        say(
            f"{name.replace('_', ' ')}, second less first: {found['difference']:+.4f} "
            f"(95 % interval {found['low']:+.4f} to {found['high']:+.4f}, paired bootstrap)"
        )
