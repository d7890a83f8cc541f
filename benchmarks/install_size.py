"""What the package and each extra take on disk: installed files of everything they require.

    python benchmarks/install_size.py

Sizes are of the versions installed here; an extra's are what it adds to the plain package.
Torch is listed apart, because its builds with and without CUDA differ by gigabytes.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from report import emit

PACKAGE = "finsent-batch"
EXTRAS = ("llm", "ray", "tensorboard", "dev")


def required(name: str, extra: str = "") -> set[tuple[str, str]]:
    """Return (package, extra) for everything that `name[extra]` requires, itself included."""
    found: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(name), extra)]
    while waiting:
        item = waiting.pop()
        if item in found:
            continue
        try:
            lines = distribution(item[0]).requires or []
        except PackageNotFoundError:  # of another platform or Python version
            continue
        found.add(item)
        for line in lines:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": item[1]}):
                for of in ("", *requirement.extras):
                    waiting.append((canonicalize_name(requirement.name), of))
    return found


def size(name: str) -> int:
    """Return the bytes of a package's installed files."""
    paths = (Path(str(file.locate())) for file in distribution(name).files or [])
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    core = {name for name, _ in required(PACKAGE)}
    rows = [
        ["torch alone", 1, round(size("torch") / 1e6)],
        [f"{PACKAGE} without torch", len(core) - 1, _megabytes(core - {"torch"})],
    ]
    for extra in EXTRAS:
        more = {name for name, _ in required(PACKAGE, extra)} - core
        rows.append([f"[{extra}] adds", len(more), _megabytes(more)])
    emit("install_size", ["what", "packages", "MB"], rows, torch=distribution("torch").version)


def _megabytes(names: set[str]) -> int:
    return round(sum(map(size, names)) / 1e6)


if __name__ == "__main__":
    main()
