"""`finsent-batch doctor`: what this machine can run."""

import sys

import click

from .options import Globals
from .terminal import print_table


@click.command()
@click.option("--model", help="A model directory or Hub id to check as well.")
@click.pass_obj
def doctor(obj: Globals, model: str | None) -> None:
    """Show what this machine can run: devices, memory, libraries, model files, store.

    Exits 69 if the embedded model, or the one named, cannot run here.

    \b
    finsent-batch doctor
    finsent-batch doctor --model llama-adapter/
    """
    from finsent_batch.doctor import diagnose

    checks = diagnose(obj.store, model)
    print_table(["what", "state", "found"], [[c.what, c.state, c.found] for c in checks])
    if any(c.state == "missing" for c in checks):
        sys.exit(69)
