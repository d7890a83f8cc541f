"""File names: suffixes, and outputs that stay inside their folder."""

import os
from pathlib import Path, PurePath

from ..errors import CannotCreateError

FILE_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_OUTPUT_MARK = ".scored"


def check_inside(file: Path, folder: Path) -> None:
    """Refuse an output that a symbolic link leads out of the folder it seems to lie in.

    `folder` may itself be named through links: the user chose it, not who filled it.

    Raises:
        CannotCreateError: `file`, or a folder between it and `folder`, is such a link.
    """
    real = Path(os.path.realpath(file))  # unlike resolve, it knows links in circles
    if not real.is_relative_to(os.path.realpath(folder)):
        raise CannotCreateError(
            f"{file} is a link that leads out of its folder, to {real}: name that file, "
            "or remove the link"
        )


def check_folder(folder: Path) -> None:
    """Refuse an output folder in which something leads out of it; see `check_inside`."""
    for entry in folder.iterdir():
        check_inside(entry, folder)


def suffix_of(path: PurePath) -> str:
    """Return the suffix that decides the format, in small letters, `.csv.gz` as one."""
    name = path.name.lower()
    return ".csv.gz" if name.endswith(".csv.gz") else PurePath(name).suffix


def stem_of(path: PurePath) -> str:
    """Return the name without that suffix."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.name


def is_input(file: Path) -> bool:
    """Whether a file found in a folder is meant: data, not hidden, not an output of ours."""
    return (
        suffix_of(file) in FILE_SUFFIXES
        and not file.name.startswith((".", "_"))
        and not stem_of(file).endswith(_OUTPUT_MARK)
    )
