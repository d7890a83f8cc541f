"""What the package and each extra take: packages, megabytes, seconds to install and to import.

    nice -n 10 python benchmarks/install_size.py

Each row is a fresh virtual environment, filled by pip without its cache, in the versions of
`constraints.txt`. Torch comes first and alone, because its builds with and without CUDA differ by
gigabytes; the plain package is installed over it, and each extra over the plain package: its row is
what it adds. Seconds of installation are those of this disk and of the way to the package index;
import is the fastest of three processes, less that of one that imports nothing.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from importlib.metadata import version
from pathlib import Path

from report import emit

ROOT = Path(__file__).parent.parent
IMPORTED = {
    "llm": "bitsandbytes, sentencepiece, trl.trainer.sft_trainer",
    "ray": "ray",
    "tensorboard": "tensorboard.summary",
    "delta": "deltalake",
    "buckets": "boto3, obstore",
}
"""What of each extra is imported where it is used."""


def made(folder: Path, over: Path | None, requirements: list[str]) -> list[float]:
    """Make an environment over another one; returns packages, megabytes and seconds added."""
    venv.create(folder, with_pip=True)
    if over is not None:
        (site(folder) / "over.pth").write_text("\n".join(map(str, sites(over))))
    before, size_before = len(packages(folder)), size(folder)
    begun = time.monotonic()
    pip = ("-m", "pip", "install", "--quiet", "--no-cache-dir", "-c", ROOT / "constraints.txt")
    subprocess.run([folder / "bin" / "python", *pip, *requirements], check=True, cwd=ROOT)
    seconds = time.monotonic() - begun
    return [len(packages(folder)) - before, round((size(folder) - size_before) / 1e6), seconds]


def site(folder: Path) -> Path:
    """Return where an environment has its packages."""
    return next((folder / "lib").glob("python*/site-packages"))


def sites(folder: Path) -> list[Path]:
    """Return where an environment and those below it have their packages."""
    below = site(folder) / "over.pth"
    return [site(folder), *(map(Path, below.read_text().split()) if below.exists() else ())]


def packages(folder: Path) -> list[Path]:
    """Return what is installed in an environment, those below it left out."""
    return list(site(folder).glob("*.dist-info"))


def size(folder: Path) -> int:
    """Return the bytes of an environment's packages as pip unpacks them, compiled files too."""
    return sum(f.stat().st_size for f in site(folder).rglob("*") if f.is_file())


def import_seconds(folder: Path, modules: str) -> float:
    """Return the seconds that importing takes in a process of its own."""

    def fastest(code: str) -> float:
        found = []
        for _ in range(3):
            begun = time.monotonic()
            environment = {**os.environ, "PYTHONPATH": ""}
            command = [folder / "bin" / "python", "-c", code]
            subprocess.run(command, check=True, cwd=folder, env=environment)
            found.append(time.monotonic() - begun)
        return min(found)

    return fastest(f"import {modules}") - fastest("pass")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extras", default=",".join(IMPORTED), help="which, by commas")
    chosen = parser.parse_args().extras.split(",")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    torch = version("torch").partition("+")[0]
    with tempfile.TemporaryDirectory(prefix="installed-") as scratch:
        first, plain = Path(scratch) / "torch", Path(scratch) / "plain"
        rows = [["torch alone", *made(first, None, [f"torch=={torch}"])]]
        rows[-1].append(import_seconds(first, "torch"))
        rows.append(["finsent-batch over torch", *made(plain, first, ["."])])
        rows[-1].append(import_seconds(plain, "finsent_batch.pipeline.score"))
        for extra in chosen:
            folder = Path(scratch) / extra
            rows.append([f"[{extra}] adds", *made(folder, plain, extras[extra])])
            rows[-1].append(import_seconds(folder, IMPORTED[extra]))
            print(rows[-1], file=sys.stderr, flush=True)
    columns = ["what", "packages", "MB", "seconds to install", "seconds to import"]
    emit("install_size", columns, rows, torch=torch)


if __name__ == "__main__":
    main()
