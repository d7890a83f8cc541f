"""`finsent-batch query`: the packaged SQL over scores and published rows."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from finsent_batch.errors import ParameterError

from .options import Globals, file_path, parse_pairs
from .tables.formats import print_table
from .terminal import say

if TYPE_CHECKING:
    import polars as pl

FILE_FORMATS = ("csv", "json", "parquet")
FORMATS = ("table", *FILE_FORMATS)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    help="Value of one of the query's parameters. Repeatable.",
)
@click.option("--sql", "statement", metavar="SELECT", help="Run your own SELECT; it cannot write.")
@click.option(
    "--from",
    "published",
    metavar="SCORED",
    help="Scored .parquet, .csv or FILE.duckdb::TABLE to read.  [default: everything published]",
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
    obj: Globals,
    /,
    name: str | None,
    params: tuple[str, ...],
    statement: str | None,
    published: str | None,
    format_: str | None,
    output: Path | None,
) -> None:
    """Run the query NAME, or your own --sql; without either, list the queries.

    \b
    finsent-batch query daily_sentiment
    finsent-batch query low_confidence --param threshold=0.6 --format json
    finsent-batch query label_mix --from news.scored.parquet
    finsent-batch query --sql "SELECT source, avg(sentiment_score) FROM scored_headlines GROUP BY 1"
    """
    from finsent_batch.queries.run import check_query_output, run_query, run_sql, to_polars

    if statement is not None and (name is not None or params):
        raise click.UsageError("--sql is a query by itself: leave out NAME and --param")
    if statement is None and name is None:
        if _has_explicit_options():
            raise click.UsageError("name a query, or write one with --sql: query alone lists them")
        _list_queries()
        return
    chosen = _choose_format(format_, output)
    if output is not None:
        check_query_output(output, obj.store, published)
    if statement is not None:
        frame = to_polars(run_sql(statement, obj.store, published=published))
    else:
        pairs = parse_pairs(params, "--param")
        try:
            frame = run_query(str(name), obj.store, parameters=pairs, published=published)
        except ParameterError as error:
            if obj.log_format == "text":
                say(error.header, err=True)
            raise
    _emit(frame, chosen, output)


def _has_explicit_options() -> bool:
    """Return whether some option was given on the command line, not by file or environment."""
    context = click.get_current_context()
    return any(
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params
    )


def _list_queries() -> None:
    from finsent_batch.queries.catalog import load_query, query_names

    found = [load_query(n) for n in query_names()]
    print_table(
        ["query", "what it shows", "parameters"],
        [[q.name, q.summary, ", ".join(p.name for p in q.parameters)] for q in found],
    )


def _choose_format(format_: str | None, output: Path | None) -> str:
    if output is None:
        return format_ or ("table" if sys.stdout.isatty() else "csv")
    chosen = format_ or output.suffix.lstrip(".").lower()
    if chosen not in FILE_FORMATS:
        raise click.UsageError(
            f"-o {output}: a file is csv, json or parquet; say which with --format or its suffix"
        )
    return chosen


def _emit(frame: "pl.DataFrame", format_: str, output: Path | None) -> None:
    from finsent_batch.io.atomic import frame_bytes, replace_file

    if format_ == "table":
        print_table(frame.columns, frame.rows())
        return
    content = frame_bytes(frame, format_)
    if output is None:
        click.echo(content, nl=False)
        return
    replace_file(output, content)
