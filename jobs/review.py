"""`finsent-batch review`: people label a sample, and the store learns how good the labels are."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from finsent_batch.reviews.config import ReviewExportConfig, ReviewImportConfig
from finsent_batch.wording import counted

from .completion import complete_model, complete_run
from .options import Globals, file_path, parse_pairs
from .tables.formats import chosen_format, format_option, print_rows, print_table
from .terminal import say

_TITLES = {
    "accuracy": "Accuracy by review",
    "agreement": "Agreement of reviewers",
    "wrong": "Labels that reviewers call wrong",
}
_COLUMNS = {
    "accuracy": (
        "model", "month", "headlines", "accuracy", "accuracy_low", "accuracy_high",
        "estimated_accuracy", "model_fingerprint",
    ),
    "agreement": ("one", "other", "headlines", "share", "kappa"),
    "wrong": (
        "headline", "sentiment", "reviewers", "confidence", "month", "source", "model",
        "model_fingerprint",
    ),
}  # fmt: skip
_DISPENSABLE = ("model_fingerprint", "model", "source", "estimated_accuracy")


@click.group()
def review() -> None:
    """Let people label a sample, and see how often the models are right.

    \b
    finsent-batch review export -o sample.csv
    finsent-batch review import sample.csv --reviewer Anna
    finsent-batch review show
    """


@review.command()
@click.option("-o", "--output", type=file_path(), required=True, help="CSV file to fill.")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=ReviewExportConfig.rows,
    help="How many headlines to draw.",
)
@click.option("--run", shell_complete=complete_run, help="Draw from what this run published.")
@click.option(
    "--model",
    shell_complete=complete_model,
    help="Draw from what this model labelled, or two in turn: the name or the beginning of the "
    "fingerprint, as models and runs show them.",
)
@click.option("--since", metavar="DAY", help="Draw from the news from this day on: 2014-01-06.")
@click.option("--until", metavar="DAY", help="Draw from the news up to this day, it included.")
@click.option("--seed", default=ReviewExportConfig.seed, help="Another seed draws others.")
@click.option(
    "--show-labels",
    is_flag=True,
    default=False,
    help="Show the model's label; reviewers who see it tend to agree with it.",
)
@click.option(
    "--overwrite", is_flag=True, default=False, help="Replace a file, with the answers in it."
)
@click.pass_obj
def export(obj: Globals, /, **options: Any) -> None:
    """Draw headlines from all that is published, or from a part, for people to label.

    The sample has its due of every month, source, label and band of confidence, and
    more of what the model is unsure of; the weights that make up for that are kept in
    the store. Fill the column label with positive, neutral or negative, and reviewer
    with your name; what is left empty is not asked for.

    \b
    finsent-batch review export -o sample.csv
    finsent-batch review export -o january.csv --rows 400 --since 2014-01-01 --until 2014-01-31
    """
    from finsent_batch.reviews.export import export_reviews

    config = ReviewExportConfig(store=obj.store, **options)
    done = export_reviews(config)
    say(f"wrote {config.output}: {done.rows:,} of {counted(done.population, 'headline')}")


@review.command("import")
@click.argument("input", metavar="FILE", type=file_path())
@click.option("--reviewer", metavar="NAME", help="Whose answers these are where no column says it.")
@click.option(
    "--label-map",
    multiple=True,
    metavar="VALUE=LABEL",
    help="What a label in the file means, such as 0=negative. Repeatable.",
)
@click.option(
    "--encoding", default=ReviewImportConfig.encoding, help="Encoding of the file, such as cp1252."
)
@click.pass_obj
def import_(obj: Globals, /, input: Path, label_map: tuple[str, ...], **options: Any) -> None:
    """Keep the answers of FILE, which review export wrote and people filled, in the store.

    All of them are kept or none. To correct an answer, import the file again: the last
    answer of a reviewer counts.

    \b
    finsent-batch review import sample.csv --reviewer Anna
    """
    from finsent_batch.reviews.answers import import_reviews

    pairs = parse_pairs(label_map, "--label-map")
    done = import_reviews(
        ReviewImportConfig(store=obj.store, input=input, label_map=pairs, **options)
    )
    say(
        f"{obj.store.path}: {counted(done.new, 'answer')} added, {done.changed:,} changed, "
        f"{done.known:,} known; {counted(done.open, 'row')} without a label"
    )


@review.command()
@click.option(
    "--only",
    type=click.Choice(list(_TITLES)),
    help="Show one table.  [default: all; accuracy in other formats]",
)
@format_option
@click.pass_obj
def show(obj: Globals, only: str | None, format_: str | None) -> None:
    """Show how often models are right by review, how far reviewers agree, and the mistakes.

    The accuracy is that of all headlines drawn from, weighted for the drawing, with a
    95 % interval; beside it is what the probabilities let expect of the month's nights.

    \b
    finsent-batch review show
    finsent-batch review show --only wrong --format csv
    """
    from finsent_batch.reviews.accuracy import reviewed

    found = reviewed(obj.store)
    parts: dict[str, list[dict[str, Any]]] = {
        "accuracy": [asdict(share) for share in found.accuracy],
        "agreement": found.agreement,
        "wrong": found.wrong,
    }
    chosen = chosen_format(format_)
    if chosen != "table":
        names = _COLUMNS[only or "accuracy"]
        rows = [[row[name] for name in names] for row in parts[only or "accuracy"]]
        print_rows(names, rows, chosen)
        return
    for part, rows_ in parts.items():
        if only in (None, part) and (rows_ or part == (only or "accuracy")):
            names = _COLUMNS[part]
            values = [[row[name] for name in names] for row in rows_]
            advice = f"; review show --only {part} --format csv has all"
            print_table(names, values, title=_TITLES[part], dispensable=_DISPENSABLE, advice=advice)
