"""Record what commands show on terminals of 80 and 120 columns, for docs/cli.md.

    make docs-sessions

For each width the demo is scored in a new folder, then each command of `SESSIONS` runs on a
pseudo-terminal. What it shows becomes docs/sessions/NAME.txt, which docs/make_cli.py puts into
the page. Times, ids and versions are those of the recording.
"""

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pyte

DOCS = Path(__file__).parent
ROOT = DOCS.parent
FOLDER = DOCS / "sessions"
WIDTHS = (80, 120)
SESSIONS = {
    "score": (
        "score headlines.csv --dry-run",
        "score headlines.csv",
        "score headlines.csv labelled.csv -o out --output-format csv",
        "score - --input-format csv < headlines.csv | cut -c 1-60 | head -n 4",
        "score headlines.csv -o news.csv --append 2>&1 | fold -s -w 80",
    ),
    "prepare": ("prepare labelled.csv -o split --valid-size 0.2 --test-size 0.2",),
    "train": ("train --data split --num-train-epochs 1 -o my-model",),
    "evaluate": (
        "evaluate --model my-model --data labelled.csv --against mini -o evaluation "
        '--gate "accuracy>=0.1"',
    ),
    "compare": ("compare mini my-model --data headlines.csv -o flips.csv",),
    "report": (
        "report -o report.html",
        "report --all | head -n 24",
    ),
    "store": (
        "store verify",
        "store compact --keep-runs 90",
        "store export -o backup",
    ),
    "query": (
        "query label_mix",
        "query most_negative --param limit=5",
        'query --sql "FROM scored_headlines" --limit 3',
        'query --sql "SUMMARIZE scores" --limit 5',
        "query low_confidence --help",
    ),
    "runs": ("runs",),
    "models": ("models",),
    "doctor": ("doctor",),
    "config-show": ("config show query",),
}
"""The commands to record, by the command whose help they stand below."""
ROWS = 400
"""Of the terminal: so many that nothing scrolls."""


def on_a_terminal(command: str, folder: Path, width: int) -> str:
    """Run a command line on a pseudo-terminal of a width; return the text that it shows."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, width, 0, 0))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    hidden = ("COLUMNS", "LINES")
    environment = {k: v for k, v in os.environ.items() if k not in hidden and "FINSENT" not in k}
    shown = b""
    with subprocess.Popen(
        ["sh", "-c", f"finsent-batch {command}"], stdin=follower, stdout=follower, stderr=follower,
        cwd=folder, env={**environment, "PATH": path, "PAGER": "cat", "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(follower)
        while True:
            try:
                part = os.read(leader, 1 << 16)
            except OSError:  # the command has ended
                break
            if not part:
                break
            shown += part
    os.close(leader)
    # Of lines that are drawn again and again the last state stays.
    screen = pyte.Screen(width, ROWS)
    pyte.Stream(screen).feed(shown.decode())
    text = "\n".join(line.rstrip() for line in screen.display).rstrip()
    if process.returncode:
        raise SystemExit(f"finsent-batch {command}: exit code {process.returncode}\n{text}")
    return text


def record(folder: Path, wanted: list[str], width: int) -> None:
    """Record the sessions of these names in a folder that is like a user's own."""
    for name in ("headlines.csv", "labelled.csv"):
        shutil.copy(ROOT / "demo" / name, folder / name)
    score = ("score", "headlines.csv", "-o", "headlines.scored.parquet")
    for _ in range(2):  # the second one answers from the store
        subprocess.run(
            [str(Path(sys.executable).parent / "finsent-batch"), "-q", *score],
            cwd=folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    FOLDER.mkdir(exist_ok=True)
    for name in wanted:
        parts = [f"$ finsent-batch {c}\n{on_a_terminal(c, folder, width)}\n"
                 for c in SESSIONS[name]]  # fmt: skip
        text = "\n".join(parts).replace(f"{folder.resolve()}/", "")
        (FOLDER / f"{name}.{width}.txt").write_text(text, "utf-8")


if __name__ == "__main__":
    for columns in WIDTHS:
        with tempfile.TemporaryDirectory(prefix="finsent-session-") as work:
            record(Path(work), sys.argv[1:] or list(SESSIONS), columns)
