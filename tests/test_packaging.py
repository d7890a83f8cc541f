"""What is installed is what is in the repository."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_packages_listed_are_the_folders_on_disk() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    homes = {"finsent_batch": "finsent_batch"}
    homes |= {f"finsent_batch.{name}": name for name in ("jobs", "sql")}
    found = set()
    for package, home in homes.items():
        for file in (ROOT / home).rglob("__init__.py"):
            inside = file.parent.relative_to(ROOT / home).parts
            found.add(".".join([package, *inside]))
    assert set(listed["packages"]) == found


def files_of(package: Path) -> Iterator[Path]:
    """Yield the files of a package and of its folders that are no packages themselves."""
    for entry in package.iterdir():
        if entry.is_file():
            yield entry
        elif entry.name != "__pycache__" and not (entry / "__init__.py").exists():
            yield from files_of(entry)


def test_files_beside_the_code_are_listed() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    homes = {"finsent_batch": ROOT / "finsent_batch"}
    homes |= {f"finsent_batch.{name}": ROOT / name for name in ("jobs", "sql")}
    missing = []
    for package in data["packages"]:
        home = next(
            folder.joinpath(*package.removeprefix(root).strip(".").split("."))
            for root, folder in sorted(homes.items(), reverse=True)
            if package == root or package.startswith(f"{root}.")
        )
        patterns = data["package-data"].get(package, [])
        listed = {file for pattern in patterns for file in home.glob(pattern)}
        for file in files_of(home):
            if file.suffix not in {".py", ".pyc", ".sh"} and file not in listed:
                missing.append(str(file.relative_to(ROOT)))
    assert missing == []
