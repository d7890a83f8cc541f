"""`finsent-batch query`: the packaged SQL over scores and published rows."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from finsent_batch.errors import ParameterError
from finsent_batch.visible import visible
from finsent_batch.wording import counted

from .completion import complete_query
from .options import Globals, file_path, parse_pairs
from .tables.formats import FORMATS, chosen_format, markdown_lines, print_rows, print_table
from .tables.query_help import query_help
from .terminal import piped_to_standard_output, say

if TYPE_CHECKING:
    from finsent_batch.queries.result import Result

_SUFFIXES = {
    "csv": "csv", "json": "json", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet",
    "md": "markdown",
}  # fmt: skip
_COMPRESSIONS = {"gz": "gzip", "zst": "zstd"}
_ROWS_OF_A_TABLE = 40
_DISPENSABLE = (
    "headline_key", "run_id", "model_fingerprint", "one_fingerprint", "other_fingerprint",
    "p_neutral", "p_negative", "p_positive",
)  # fmt: skip
"""What a table on a narrow terminal leaves out first."""
_OWN_OPTIONS = ("params", "statement", "published", "output", "limit", "all_")


@click.command(add_help_option=False)
@click.argument("name", required=False, shell_complete=complete_query)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    help="Value of one of the query's parameters, or of a $KEY in --sql. Repeatable.",
)
@click.option(
    "--sql",
    "statement",
    metavar="SELECT",
    help="Run your own SELECT, a file with one, or - for standard input; it cannot write.",
)
@click.option(
    "--from",
    "published",
    metavar="SCORED",
    help="Scored .parquet or .csv file, a folder or 'pattern*' of them, or FILE.duckdb::TABLE.  "
    "[default: everything published]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice([*FORMATS, "parquet"]),
    help="[default: table on a terminal, else csv; with -o by its suffix]",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"Show or write so many rows at most.  [default: {_ROWS_OF_A_TABLE} in a table, else all]",
)
@click.option("--all", "all_", is_flag=True, default=False, help="Show all rows in a table too.")
@click.option("-o", "--output", type=file_path(), help="Write to a file instead of printing.")
@click.option(
    "-h", "--help", "help", is_flag=True, default=False,
    help="Show this message, or with NAME the query's parameters, and exit.",
)  # fmt: skip
@click.pass_context
def query(
    ctx: click.Context,
    /,
    name: str | None,
    statement: str | None,
    format_: str | None,
    output: Path | None,
    help: bool,
    **options: Any,
) -> None:
    """Run the query NAME, or your own --sql; without either, list the queries.

    \b
    finsent-batch query low_confidence --help
    finsent-batch query low_confidence --param threshold=0.6 --format json
    finsent-batch query label_mix --from news.scored.parquet
    finsent-batch query --sql "SELECT source, avg(sentiment_score) FROM scored_headlines GROUP BY 1"
    finsent-batch query --sql worst.sql --param ticker=NOK -o worst.parquet
    """
    if help:
        click.echo(query_help(name) if name is not None else ctx.get_help())
    elif statement is not None and name is not None:
        raise click.UsageError("--sql is a query by itself: leave out NAME")
    elif statement is None and name is None:
        if any(_is_given(ctx, option) for option in _OWN_OPTIONS):
            raise click.UsageError("name a query, or write one with --sql: query alone lists them")
        _list_queries(format_)
    else:
        _run(ctx.obj, name, statement, _choose_format(format_, output), output, **options)


def _is_given(ctx: click.Context, option: str) -> bool:
    """Return whether an option was given on the command line, not by file or environment."""
    return ctx.get_parameter_source(option) is ParameterSource.COMMANDLINE


def _list_queries(format_: str | None) -> None:
    from finsent_batch.queries.catalog import load_query, query_names

    if format_ == "parquet":
        raise click.UsageError("the list of queries is a table, csv, json or markdown")
    found = [load_query(n) for n in query_names()]
    print_rows(
        ["query", "what it shows", "parameters"],
        [[q.name, q.summary, ", ".join(p.name for p in q.parameters)] for q in found],
        chosen_format(format_),
        wraps=True,
    )


def _choose_format(format_: str | None, output: Path | None) -> str:
    if output is None:
        chosen = chosen_format(format_)
        if chosen == "parquet" and sys.stdout.isatty():
            raise click.UsageError("Parquet is not for a terminal: name a file with -o")
        return chosen
    chosen = format_ or _SUFFIXES.get(_suffixes(output)[0], "")
    if chosen in ("", "table"):
        raise click.UsageError(
            f"-o {output}: a file is csv, json, jsonl, parquet or md (markdown); say which with "
            "--format or its suffix"
        )
    return chosen


def _suffixes(output: Path) -> tuple[str, str | None]:
    """Return the suffix of the format, and how the file is compressed by the one after it."""
    *_, before, last = ("", "", *output.name.lower().split("."))
    return (before, _COMPRESSIONS[last]) if last in _COMPRESSIONS else (last, None)


def _run(
    obj: Globals,
    name: str | None,
    statement: str | None,
    format_: str,
    output: Path | None,
    *,
    params: tuple[str, ...],
    published: str | None,
    limit: int | None,
    all_: bool,
) -> None:
    from finsent_batch.queries.run import check_query_output, open_query, open_sql
    from finsent_batch.queries.statement import statement_of, typed

    pairs = parse_pairs(params, "--param")
    sql = None if statement is None else statement_of(statement, sys.stdin)
    if output is not None:
        check_query_output(output, obj.store, published)
    with _place(format_, output) as place:
        if sql is not None:
            values = {key: typed(value) for key, value in pairs}
            opened = open_sql(
                sql, obj.store, parameters=values, published=published, writes_to=place
            )
        else:
            opened = open_query(
                str(name), obj.store, parameters=pairs, published=published, writes_to=place
            )
        try:
            with opened as result:
                _emit(result, format_, place, output, limit=limit, everything=all_)
        except ParameterError as error:
            if obj.log_format == "text":
                click.echo(visible(error.header), err=True)
            raise


def _place(format_: str, output: Path | None) -> "AbstractContextManager[Path | None]":
    """Return where the rows are written to; None of what is printed as text."""
    from finsent_batch.io.atomic import filling

    if output is not None:
        return filling(output)
    return nullcontext() if format_ in ("table", "markdown") else piped_to_standard_output()


def _emit(
    result: "Result",
    format_: str,
    place: Path | None,
    output: Path | None,
    *,
    limit: int | None,
    everything: bool,
) -> None:
    if format_ == "table":
        shown = None if everything else _ROWS_OF_A_TABLE if limit is None else limit
        _show_table(result, shown)
        return
    if format_ == "markdown":
        lines = markdown_lines(result.names, result.values(limit, rounded=False))
        text = "".join(f"{line}\n" for line in lines)
        click.echo(text, nl=False) if place is None else place.write_text(text, "utf-8")
    else:
        assert place is not None
        compression = None if output is None else _suffixes(output)[1]
        result.write(place, format_, limit=limit, compression=compression)
    if limit is not None and limit < result.rows:
        say(f"{limit:,} of {counted(result.rows, 'row')} written, as --limit says", err=True)


def _show_table(result: "Result", limit: int | None) -> None:
    rows = result.values(limit, rounded=True)
    if result.is_plan:
        click.echo(visible("\n".join(str(value) for _, value in rows)))
        return
    left = result.rows - len(rows)
    note = (
        f"{len(rows):,} of {counted(result.rows, 'row')}; --limit N shows more, --all all of them"
        if left
        else ""
    )
    advice = "; --format csv or json has all"
    print_table(result.names, rows, note=note, dispensable=_DISPENSABLE, advice=advice)
