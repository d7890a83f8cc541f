"""`finsent-batch models`: which models are known."""

from typing import Any

import click

from .terminal import print_table


@click.command()
@click.pass_obj
def models(obj: Any) -> None:
    """List the embedded model and every model the store has scores of.

    \b
    finsent-batch models
    """
    from finsent_batch.listing import known_models

    rows = known_models(obj.store)
    print_table(list(rows[0]), [list(row.values()) for row in rows])
