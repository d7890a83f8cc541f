"""Small files that programs beside us read: replaced whole, and only where they seem to lie."""

import os
from pathlib import Path

from .atomic import replacing
from .errors import CannotCreateError


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


def replace_file(file: Path, content: bytes) -> None:
    """Write a file so that a reader meets the old content or the new; a pipe as it is.

    Raises:
        CannotCreateError: the place cannot be written, or see `check_inside`.
        StorageError: writing failed half way; what stood there is untouched.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        file.write_bytes(content)
        return
    check_inside(file, file.parent)
    with replacing(file.resolve() if file.is_symlink() else file) as temporary:
        temporary.write_bytes(content)
