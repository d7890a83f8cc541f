"""`finsent-batch evaluate`: how often a model is right."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from finsent_batch.config import EvaluateConfig, ModelConfig

from .options import file_path, labelled_options, model_options, parse_pairs
from .terminal import print_table, progress_bar

if TYPE_CHECKING:
    from finsent_batch.evaluation import Evaluation


@click.command()
@model_options
@click.option("--data", type=file_path(), required=True, help="Labelled .parquet, .csv or .txt.")
@click.option("-o", "--output", type=file_path(dir_okay=True), required=True, help="Folder.")
@click.option("--against", help="Another model to set beside this one; base: a causal adapter's.")
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="EXPR",
    help="Exit 3 unless it holds: accuracy>=0.80, no-regression. Repeatable.",
)
@labelled_options
@click.pass_obj
def evaluate(
    obj: Any,
    /,
    model: str,
    device: str,
    weights: str,
    max_batch_tokens: int | None,
    data: Path,
    output: Path,
    against: str | None,
    gates: tuple[str, ...],
    label_map: tuple[str, ...],
    **options: Any,
) -> None:
    """Measure a model on labelled headlines; write figures, predictions and an HTML report.

    The folder gets metrics.json, predictions.parquet and .csv, and report.html.

    A headline without a prediction counts as wrong, never as neutral.

    \b
    finsent-batch evaluate --data split/test.parquet -o report
    finsent-batch evaluate --model a --against b --gate no-regression --data t.parquet -o r
    """
    from finsent_batch.errors import GateFailedError
    from finsent_batch.evaluation import evaluate as run_evaluate

    config = EvaluateConfig(
        data=data,
        output=output,
        model=ModelConfig(
            model=model, device=device, weights=weights, max_batch_tokens=max_batch_tokens
        ),
        against=against,
        gates=gates,
        label_map=parse_pairs(label_map, "--label-map"),
        store=obj.store,
        **options,
    )
    failed: GateFailedError | None = None
    with progress_bar(quiet=obj.quiet) as progress:
        try:
            result = run_evaluate(config, progress=progress)
        except GateFailedError as error:
            failed, result = error, error.result
    show(result)
    click.echo(f"wrote metrics.json, predictions.parquet and report.html in {output}")
    if failed is not None:
        raise failed


def show(result: "Evaluation") -> None:
    """Print the figures, one model or two side by side."""
    sides = [m for m in (result.metrics, result.against) if m is not None]
    print_table(
        ["metric", *(f"{m['model']} ({m['weights']})" for m in sides)],
        [
            [name.replace("_", " "), *(m[name] for m in sides)]
            for name in ("n", "accuracy", "macro_f1", "weighted_f1", "ece", "missing")
        ]
        + [
            [f"accuracy, {label}", *(m["per_class"][label]["accuracy"] for m in sides)]
            for label in result.metrics["labels"]
        ],
    )
    for metrics in sides:
        print_table(
            ["label", "accuracy", "precision", "recall", "F1", "rows",
             *(f"called {label}" for label in metrics["labels"]), "no answer"],
            [
                [label, c["accuracy"], c["precision"], c["recall"], c["f1"], c["support"], *counts]
                for (label, c), counts in zip(
                    metrics["per_class"].items(), metrics["confusion"], strict=True
                )
            ],
            title=metrics["model"],
        )  # fmt: skip
    if result.comparison is not None:
        c = result.comparison
        click.echo(
            f"McNemar: {c['only_one']:.0f} right only by the first, {c['only_other']:.0f} only by "
            f"the second, p = {c['p_value']:.3g}"
        )
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
