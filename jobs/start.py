"""Entry point of the console script: what is heavy is imported where Ctrl-C is already answered."""

import os
import signal


def main() -> None:
    """Run the command."""
    signal.signal(signal.SIGINT, _interrupted)
    from .cli import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _interrupted(number: int, frame: object) -> None:
    """End at once: nothing was begun that would have to be ended."""
    os.write(2, b"finsent-batch: error: interrupted\n")
    os._exit(130)
