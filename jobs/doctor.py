"""`finsent-batch doctor`: what this machine can run."""

import sys

import click

from .options import Globals
from .tables.formats import chosen_format, format_option, print_rows


@click.command()
@click.option("--model", help="A model directory or Hub id to check as well.")
@format_option
@click.pass_obj
def doctor(obj: Globals, model: str | None, format_: str | None) -> None:
    """Show what this machine can run: devices, memory, libraries, model files, store.

    Exits 69 if an embedded model, or the one named, cannot run here.

    \b
    finsent-batch doctor
    finsent-batch doctor --model llama-adapter/
    finsent-batch doctor --format json
    """
    from finsent_batch.doctor import diagnose

    checks = diagnose(obj.store, model)
    rows = [[c.what, c.state, c.found] for c in checks]
    print_rows(["what", "state", "found"], rows, chosen_format(format_), wraps=True)
    if any(c.state == "missing" for c in checks):
        sys.exit(69)
