"""`finsent-batch runs`: list the runs in the store."""

import click

from .options import Globals
from .tables.formats import chosen_format, format_option, print_rows

_DISPENSABLE = ("rows_duplicate", "headlines_per_second", "rows_reused", "model", "seconds")


@click.command()
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, help="How many runs, latest first."
)
@format_option
@click.pass_obj
def runs(obj: Globals, limit: int, format_: str | None) -> None:
    """List the runs in the store, latest first.

    A table has ids as short as report --run takes them, and times in UTC.

    \b
    finsent-batch runs --limit 5
    finsent-batch runs --format json
    """
    from finsent_batch.queries.runs import list_runs

    found = list_runs(obj.store, limit)
    chosen = chosen_format(format_)
    rows = found.short_rows if chosen == "table" else found.rows
    print_rows(found.columns, rows, chosen, dispensable=_DISPENSABLE)
