"""How long `finsent-batch --help` takes, and which heavy libraries it loads (none).

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from report import emit

HEAVY = ("torch", "transformers", "polars", "duckdb", "pyarrow", "sklearn", "numpy")
ROUNDS = 15


def seconds(command: list[str]) -> float:
    """Return a process's wall time."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    command = str(Path(sys.executable).parent / "finsent-batch")
    rows = []
    for name, line in (
        ("python -c pass", [sys.executable, "-c", "pass"]),
        ("finsent-batch --help", [command, "--help"]),
        ("finsent-batch score --help", [command, "score", "--help"]),
    ):
        found = [seconds(line) for _ in range(ROUNDS)]
        rows.append([name, statistics.median(found) * 1000, min(found) * 1000])
    code = (
        "import sys; from finsent_batch.jobs.cli import run; run(['--help']); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = [name for name in HEAVY if name in loaded]
    emit("startup", ["command", "median ms", "best ms"], rows, heavy_imports=heavy)
    print("heavy imports:", ", ".join(heavy) or "none")


if __name__ == "__main__":
    main()
