"""The one list of files that no result may take the place of."""

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ...errors import CannotCreateError, UsageError
from ..atomic import cannot_write
from ..paths import check_folder, store_files

_MODEL_SUFFIXES: Final = (".json", ".safetensors", ".txt", ".model", ".jinja", ".md")
_MODEL_NAMES: Final = ("finsent.json", "adapter_config.json")


class FileTakenError(UsageError):
    """A file that is to be written is one that must stay."""


def protected(
    *,
    store: Path | None = None,
    inputs: Iterable[Path] = (),
    outputs: Iterable[Path] = (),
    models: Iterable[Path] = (),
) -> dict[Path, str]:
    """Return what must stay while a command writes, each path with what it is.

    The files of models need not be listed, they are known by what lies beside them; nor the
    `--config` file, which no option that names an output takes.
    """
    found = dict.fromkeys(models, "a model that this command reads")
    found |= dict.fromkeys(outputs, "an output")
    found |= dict.fromkeys(inputs, "an input")
    return found if store is None else found | dict.fromkeys(store_files(store), "the store")


def check_free(file: Path, others: Mapping[Path, str], named: str = "output") -> None:
    """Refuse a written file that is one of `others`, see `protected`, or a model's.

    Raises:
        FileTakenError: it is.
    """
    found = _taken(file, others)
    real = Path(os.path.realpath(file))
    if not found and real.exists() and _is_model_folder(real.parent):
        found = "a file of a model's folder" if real.suffix in _MODEL_SUFFIXES else ""
    if found:
        raise FileTakenError(f"{named} {file} is {found}: give the result a file of its own")


def check_free_folder(folder: Path, files: Iterable[str], others: Mapping[Path, str]) -> None:
    """Refuse a folder for results that is one of `others` or in which one would be replaced.

    `files` are the names that are written there.

    Raises:
        FileTakenError: one would be.
        CannotCreateError: it is, or something in it leads out of it (see `check_inside`), or
            something on its path is a file.
    """
    if found := _taken(folder, others):
        raise CannotCreateError(f"{folder} is {found}: use another -o")
    for name in files:
        if found := _taken(folder / name, others):
            raise FileTakenError(
                f"output {folder} would replace {folder / name}, which is {found}: give the result "
                "a folder of its own"
            )
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if there == folder:
            check_folder(folder)
    except OSError as error:
        raise cannot_write(folder, error) from None


def _taken(path: Path, others: Mapping[Path, str]) -> str:
    """Return which of `others` a path is, by whatever name; empty for none."""
    real = os.path.realpath(path)
    same = (what for other, what in others.items() if _is_same(other.expanduser(), real))
    return next(same, "")


def _is_same(path: Path, real: str) -> bool:
    if os.path.realpath(path) == real:
        return True
    try:
        return path.samefile(real)
    except OSError:
        return False


def _is_model_folder(folder: Path) -> bool:
    return any((folder / name).exists() for name in _MODEL_NAMES) or any(
        folder.glob("*.safetensors")
    )
