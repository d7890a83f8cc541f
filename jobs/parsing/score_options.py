"""The options of `finsent-batch score`."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from finsent_batch.config import AUTO, DEFAULT_GATES, LEAST_SURE, ScoreConfig
from finsent_batch.io.text.formats import INPUT_FORMATS, OUTPUT_FORMATS

from ..completion import complete_column, complete_run
from ..options import (
    FiniteFloat,
    Sure,
    dialect_options,
    file_path,
    first_option,
    model_options,
)

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "-o",
        "--output",
        type=file_path(dir_okay=True),
        help="Output .parquet, .csv, .tsv, .jsonl or .duckdb file, a folder, delta:FOLDER with "
        "--append, or - for standard output.  [default: beside the input, news.csv to "
        "news.scored.parquet; of a DuckDB table T table T_scored; of standard input standard "
        "output]",
    ),
    click.option(
        "--output-format",
        type=click.Choice(OUTPUT_FORMATS),
        metavar="FORMAT",
        help="What outputs are that -o gives no suffix, such as csv or jsonl.gz: "
        f"{', '.join(OUTPUT_FORMATS)}.  [default: parquet; on standard output as the input]",
    ),
    click.option(
        "--input-format",
        type=click.Choice(INPUT_FORMATS),
        help="What an INPUT is whose suffix does not say it, such as standard input.",
    ),
    click.option(
        "--input-name",
        metavar="NAME",
        help="Name of standard input: its rows replace those that came under NAME before.  "
        "[default: a hash of the content]",
    ),
    click.option(
        "--text-column",
        shell_complete=complete_column,
        help="Headline column.  [default: the first usual name, such as headline]",
    ),
    click.option(
        "--date-column",
        shell_complete=complete_column,
        help="Column with the time of each headline.  "
        "[default: the first usual name, such as published_at]",
    ),
    click.option(
        "--date-format",
        metavar="FORMAT",
        help="dmy, mdy or ymd for ambiguous dates, or a format such as '%d.%m.%Y %H:%M'.",
    ),
    click.option(
        "--timezone",
        metavar="ZONE",
        help="Time zone of times without one, such as Europe/London.  [default: UTC]",
    ),
    click.option("--table", help="Table to read from a .duckdb input."),
    click.option("--output-table", help="Table to write into a .duckdb output."),
    click.option(
        "--append",
        is_flag=True,
        default=ScoreConfig.append,
        help="Share the output with other inputs: replace only the rows of this input. For "
        "--output-table, --partition-by and delta:FOLDER.",
    ),
    click.option(
        "--partition-by",
        type=click.Choice(["day"]),
        help="With --append, make -o a folder of Parquet by day of the news, day=2014-01-06/….",
    ),
    click.option(
        "--on-new-columns",
        type=click.Choice(["fail", "add", "drop"]),
        default=ScoreConfig.on_new_columns,
        help="With --append, columns that the table has not: add them, NULL in its old rows, or "
        "drop them.",
    ),
    click.option(
        "--on-missing-columns",
        type=click.Choice(["fail", "null"]),
        default=ScoreConfig.on_missing_columns,
        help="With --append, columns that only the table has: take them as NULL.",
    ),
    click.option(
        "--on-changed-types",
        type=click.Choice(["fail", "widen", "cast"]),
        default=ScoreConfig.on_changed_types,
        help="With --append, columns of another type: widen the table's, or also cast the "
        "input's, where no value changes.",
    ),
    model_options,
    first_option(
        "A smaller model to ask first, such as mini: --model scores only what it is not sure of."
    ),
    click.option(
        "--sure",
        type=Sure(),
        metavar="P",
        help="With --first, take its label where the label's probability is at least this, "
        f"{LEAST_SURE:g} to 1; {AUTO} takes what evaluate --first found.  [default: {AUTO}]",
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", "local", "ray"]),
        default=ScoreConfig.engine,
        help="What runs the model: this process or Ray actors; auto takes Ray for several GPUs.",
    ),
    click.option(
        "--ray-address",
        metavar="HOST:PORT",
        help="Ray cluster to join, or auto to find one.  [default: start Ray on this machine]",
    ),
    click.option(
        "--actors",
        type=click.IntRange(min=1),
        help="At most this many Ray actors.  [default: one per GPU, or as many as the cores allow]",
    ),
    click.option(
        "--cpus-per-actor",
        type=click.IntRange(min=1),
        default=ScoreConfig.cpus_per_actor,
        help="CPU cores of each Ray actor.",
    ),
    click.option(
        "--limit", type=click.IntRange(min=0), help="Score only the first rows of each file."
    ),
    click.option(
        "--dry-run", is_flag=True, default=False, help="Print what would be done; write nothing."
    ),
    click.option(
        "--replace-columns",
        is_flag=True,
        default=ScoreConfig.replace_columns,
        help="Replace result columns that the input already has.",
    ),
    click.option(
        "--skip-unchanged/--no-skip-unchanged",
        default=ScoreConfig.skip_unchanged,
        help="Leave out each INPUT that is published already, by the same model and settings, "
        "where neither its file nor the output has changed.",
    ),
    click.option(
        "--overwrite",
        is_flag=True,
        default=ScoreConfig.overwrite,
        help="Replace an output that was not made from this input.",
    ),
    click.option(
        "--max-bad-rows",
        type=click.IntRange(min=0),
        default=ScoreConfig.max_bad_rows,
        help="How many CSV rows that do not parse may be set aside.",
    ),
    click.option("--encoding", default=ScoreConfig.encoding, help="Encoding of text input."),
    dialect_options,
    click.option(
        "--min-confidence",
        type=FiniteFloat(min=0.0, max=1.0, min_open=True),
        help="Add sentiment_confident: the label if its probability is at least this, else NULL.",
    ),
    click.option(
        "--gate",
        "gates",
        multiple=True,
        metavar="EXPR",
        help="Publish only if it holds, else leave the output and exit with 3: "
        "labelled_share>=0.9, rows>=1000. Repeatable; takes the place of a default on the same "
        "figure.",
    ),
    click.option(
        "--default-gates/--no-default-gates",
        default=ScoreConfig.default_gates,
        help=f"Whether {', '.join(DEFAULT_GATES)} must hold, but for trials with --limit.",
    ),
    click.option(
        "--source-column",
        shell_complete=complete_column,
        help="Column that says where a headline is from, compared by night.  "
        "[default: the first usual name, such as source]",
    ),
    click.option(
        "--as-of",
        metavar="TIME",
        help="Take the night as of this time, in UTC, for its age: 2014-01-31T06:00.  "
        "[default: now]",
    ),
    click.option(
        "--publish-anyway",
        shell_complete=complete_run,
        metavar="RUN",
        help="Publish, without INPUT, what a gate kept run RUN from publishing.",
    ),
    click.option(
        "--store-text/--no-store-text",
        default=ScoreConfig.store_text,
        help="Whether the store keeps headlines with their scores.",
    ),
    click.option(
        "--commit-seconds",
        type=FiniteFloat(min=0.0),
        default=ScoreConfig.commit_seconds,
        help="Commit scores this often: the most that a killed run can lose.",
    ),
    click.option(
        "--publish-wait",
        type=FiniteFloat(min=0.0),
        default=ScoreConfig.publish_wait,
        metavar="SECONDS",
        help="How long to wait for an output that another process has open.",
    ),
    click.option(
        "--metrics-file",
        type=file_path(),
        help="Prometheus text file to write when the run ends, successfully or not.",
    ),
    click.option(
        "--notify-command",
        help="Command that gets the summary as JSON on its standard input when the run ends.",
    ),
    click.option(
        "--summary",
        "summary_format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Format of the summary on stdout; json is one object.",
    ),
)


def score_options(function: F) -> F:
    """Add every option of the command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
