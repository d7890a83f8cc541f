"""`finsent-batch runs`: list the runs in the store."""

import click

from .options import Globals
from .terminal import print_table


@click.command()
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, help="How many runs, latest first."
)
@click.pass_obj
def runs(obj: Globals, limit: int) -> None:
    """List the runs in the store, latest first.

    \b
    finsent-batch runs --limit 5
    """
    from finsent_batch.queries.run import run_query

    frame = run_query("run_history", obj.store, parameters=[("limit", str(limit))])
    print_table(frame.columns, frame.rows())
