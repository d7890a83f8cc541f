"""`finsent-batch query`: the packaged SQL over scores and published rows."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import file_path, parse_pairs
from .terminal import print_table

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("table", "csv", "json", "parquet")


@click.command()
@click.argument("name", required=False)
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="Repeatable.")
@click.option(
    "--from",
    "published",
    metavar="SCORED",
    help="Scored .parquet, .csv or FILE.duckdb::TABLE to read.  [default: all that was published]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="[default: table on a terminal, else csv; with -o by its suffix]",
)
@click.option("-o", "--output", type=file_path(), help="Write to a file instead of printing.")
@click.pass_obj
def query(
    obj: Any,
    name: str | None,
    params: tuple[str, ...],
    published: str | None,
    format_: str | None,
    output: Path | None,
) -> None:
    """Run the query NAME; without a name, list the queries.

    \b
    finsent-batch query daily_sentiment
    finsent-batch query low_confidence --param threshold=0.6 --format json
    finsent-batch query label_mix --from news.scored.parquet
    """
    from finsent_batch.queries import run_query
    from finsent_batch.sql import load_query, query_names

    if name is None:
        found = [load_query(n) for n in query_names()]
        print_table(
            ["query", "what it shows", "parameters"],
            [[q.name, q.summary, ", ".join(p.name for p in q.parameters)] for q in found],
        )
        return
    frame = run_query(
        name, obj.store, parameters=parse_pairs(params, "--param"), published=published
    )
    if format_ is None:
        suffix = output.suffix.lstrip(".") if output else ""
        format_ = suffix if suffix in FORMATS else "table" if sys.stdout.isatty() else "csv"
    _emit(frame, format_, output)


def _emit(frame: "pl.DataFrame", format_: str, output: Path | None) -> None:
    if format_ == "table":
        print_table(frame.columns, frame.rows())
    elif format_ == "csv":
        text = frame.write_csv()
        click.echo(text, nl=False) if output is None else output.write_text(text, "utf-8")
    elif format_ == "json":
        text = frame.write_json()
        click.echo(text) if output is None else output.write_text(text + "\n", "utf-8")
    else:
        frame.write_parquet(output or sys.stdout.buffer)
