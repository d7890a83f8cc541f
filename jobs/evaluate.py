"""`finsent-batch evaluate`: measure a model on labelled headlines."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from finsent_batch.config import BASE, EvaluateConfig

from .completion import complete_model
from .options import (
    FiniteFloat,
    Globals,
    file_path,
    first_option,
    labelled_options,
    model_config,
    model_options,
    take_format,
)
from .tables.formats import print_table
from .terminal import progress_bar, say

if TYPE_CHECKING:
    from finsent_batch.evaluation.evaluate import Evaluation


@click.command()
@model_options
@click.option("--data", type=file_path(), required=True, help="Labelled .parquet, .csv or .txt.")
@click.option(
    "-o", "--output", type=file_path(dir_okay=True), required=True, help="Folder for the results."
)
@click.option(
    "--against",
    shell_complete=complete_model,
    help="Another model to compare with; base: the base of a causal adapter.",
)
@first_option(
    "A smaller model to ask first, such as mini: finds how sure it must be to answer for --model."
)
@click.option(
    "--agreement",
    type=FiniteFloat(min=0.0, max=1.0, min_open=True),
    default=EvaluateConfig.agreement,
    help="With --first, the share of rows that are then to have the label of --model.",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="EXPR",
    help="Exit with 3 unless it holds: accuracy>=0.80, no-regression. Repeatable.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    default=EvaluateConfig.overwrite,
    help="Replace another evaluation in the folder.",
)
@labelled_options
@click.pass_obj
def evaluate(
    obj: Globals,
    /,
    model: str,
    data: Path,
    output: Path,
    against: str | None,
    gates: tuple[str, ...],
    **options: Any,
) -> None:
    """Measure a model on labelled headlines; write figures, predictions and a report.

    The folder gets metrics.json, predictions.parquet, predictions.csv and
    report.html, with --against also predictions_against.parquet. A headline
    without a prediction counts as wrong, never as neutral. With --first the
    store keeps the threshold for score --first --sure auto.

    \b
    finsent-batch evaluate --data split/test.parquet -o report
    finsent-batch evaluate --model a --against b --gate no-regression --data t.parquet -o r
    finsent-batch evaluate --model a --first mini --data split/valid.parquet -o r
    """
    from finsent_batch.errors import GateFailedError, UsageError
    from finsent_batch.evaluation.evaluate import evaluate as run_evaluate

    if options["first"] is None and options["agreement"] != EvaluateConfig.agreement:
        raise UsageError("--agreement is for the model named by --first: name one, such as mini")
    how = take_format(options)
    config = EvaluateConfig(
        data=data,
        output=output,
        model=model_config(model, options),
        against=against,
        gates=gates,
        format=how,
        store=obj.store,
        **options,
    )
    failed: GateFailedError | None = None
    with progress_bar(quiet=obj.quiet) as progress:
        try:
            result = run_evaluate(config, progress=progress)
        except GateFailedError as error:
            failed, result = error, error.result
    if not obj.quiet:
        show(result, against)
    say(f"wrote metrics.json, predictions.parquet and .csv, and report.html in {output}")
    if failed is not None:
        raise failed


def show(result: "Evaluation", against: str | None) -> None:
    """Print the figures: a row a model as the Llama 2 tutorial has them, then each confusion."""
    sides = {result.metrics["model"]: result.metrics}
    if result.against is not None:
        mine, theirs = ("tuned", BASE) if against == BASE else _names(result)
        sides = {theirs: result.against, mine: result.metrics}
    labels = result.metrics["labels"]
    print_table(
        ["model", "accuracy", *(f"recall {label}" for label in labels), "macro F1",
         "weighted F1", "calibration error", "no answer", "rows", "weights"],
        [
            [name, m["accuracy"], *(m["per_class"][label]["recall"] for label in labels),
             m["macro_f1"], m["weighted_f1"], m["ece"], m["missing"], m["n"], m["weights"]]
            for name, m in sides.items()
        ],
    )  # fmt: skip
    for name, metrics in sides.items():
        _show_confusion(name, metrics)
    if result.comparison is not None:
        c, (theirs, mine) = result.comparison, sides
        say(
            f"McNemar: {c['only_one']:.0f} right only by {mine}, {c['only_other']:.0f} only by "
            f"{theirs}, p = {c['p_value']:.3g}"
        )
    if result.cascade is not None:
        _show_cascade(result.cascade, result.metrics["model"])
    for warning in result.warnings:
        say(f"warning: {warning}", err=True)


def _show_cascade(cascade: dict[str, Any], name: str) -> None:
    """Print the threshold that was found, and what the cascade answers there."""
    first = cascade["first"]
    at = next((row for row in cascade["thresholds"] if row["sure"] == cascade["sure"]), None)
    if at is None:
        say(f"cascade: at no threshold {first} may answer for {name}; see report.html")
        return
    say(
        f"cascade: {first} where at least {at['sure']:g} sure answers {at['first_share']:.1%} of "
        f"the rows; {at['agreement']:.1%} have the label of {name}, {at['accuracy']:.1%} are right"
    )


def _names(result: "Evaluation") -> tuple[str, str]:
    """Return the names of a model and the one beside it, told apart where they are the same."""
    assert result.against is not None
    mine, theirs = result.metrics["model"], result.against["model"]
    return mine, theirs if theirs != mine else f"{theirs} (again)"


def _show_confusion(name: str, metrics: dict[str, Any]) -> None:
    print_table(
        ["label", "precision", "recall", "F1", "rows",
         *(f"called {label}" for label in metrics["labels"]), "no answer"],
        [
            [label, c["precision"], c["recall"], c["f1"], c["support"], *counts]
            for (label, c), counts in zip(
                metrics["per_class"].items(), metrics["confusion"], strict=True
            )
        ],
        title=name if name == metrics["model"] else f"{name}: {metrics['model']}",
    )  # fmt: skip
