"""Small files that programs beside us read: replaced whole, and only where they seem to lie."""

import os
from contextlib import suppress
from pathlib import Path

from .errors import CannotCreateError


def check_inside(file: Path, folder: Path) -> None:
    """Refuse an output that a symbolic link leads out of the folder it seems to lie in.

    `folder` may itself be named through links: the user chose it, not who filled it.

    Raises:
        CannotCreateError: `file`, or a folder between it and `folder`, is such a link.
    """
    real = file.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise CannotCreateError(
            f"{file} is a link that leads out of its folder, to {real}: name that file, "
            "or remove the link"
        )


def check_folder(folder: Path) -> None:
    """Refuse an output folder in which something leads out of it; see `check_inside`."""
    for entry in folder.iterdir():
        check_inside(entry, folder)


def replace_file(file: Path, content: bytes) -> None:
    """Write a file so that a reader meets the old content or the new, never a part.

    Raises:
        CannotCreateError: see `check_inside`.
        OSError: the system's own reason.
    """
    check_inside(file, file.parent)
    file = file.resolve()
    temporary = file.with_name(f".{file.name}.{os.getpid()}.finsent-tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
