"""A command in a terminal of its own, as a person sees it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

_MOVES = re.compile(r"\x1b\[[0-9;]*[A-HJKST]")
_COLORS = re.compile(r"\x1b\[[0-9;?]*[a-z]")


def in_terminal(command: Sequence[str], folder: Path, columns: int = 80) -> tuple[int, list[str]]:
    """Return the exit code and every line that was drawn, without colors and movements."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        command, cwd=folder, stdin=follower, stdout=follower, stderr=follower,
        env={**environment, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(follower)
    drawn = b""
    while True:
        try:
            more = os.read(leader, 65_536)
        except OSError:  # the last one who had it open is gone
            break
        if not more:
            break
        drawn += more
    os.close(leader)
    text = _COLORS.sub("", _MOVES.sub("\n", drawn.decode("utf-8", "replace")))
    return process.wait(), [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]
