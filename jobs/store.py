"""`finsent-batch store`: look after the store."""

from typing import Any

import click

from finsent_batch.errors import BadDataError


# A default_map of its own: in the file, `store` is the global option of that name.
@click.group(context_settings={"default_map": {}})
def store() -> None:
    """Look after the store."""


@store.command()
@click.pass_obj
def verify(obj: Any) -> None:
    """Read the whole store and check that what it says holds together.

    \b
    finsent-batch store verify
    finsent-batch --store nightly.duckdb store verify
    """
    from finsent_batch.store import Store
    from finsent_batch.store_check import verify as run_verify

    with Store.open(obj.store, read_only=True) as opened:
        findings = run_verify(opened)
        if findings:
            raise BadDataError(
                f"the store {opened.path} is not sound: {'; '.join(findings)}. "
                "Move it away and run again: scores are then computed anew"
            )
        scores = opened.query("SELECT count(*) FROM scores")[0][0]
        click.echo(f"{opened.path}: sound, {scores:,} scores")
