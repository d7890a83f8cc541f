"""`finsent-batch doctor`: what this machine can run."""

import sys
from typing import Any

import click

from .terminal import print_table


@click.command()
@click.pass_obj
def doctor(obj: Any) -> None:
    """Say what this machine can run: devices, memory, libraries, model files, store.

    Exits 69 if the embedded model cannot run here.

    \b
    finsent-batch doctor
    """
    from finsent_batch.listing import diagnose

    checks = diagnose(obj.store)
    print_table(["what", "state", "found"], [[c.what, c.state, c.found] for c in checks])
    if any(c.state == "missing" for c in checks):
        sys.exit(69)
