"""File names: suffixes, the files of a folder, and outputs that stay inside theirs."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Final

from ..errors import CannotCreateError, MissingInputError
from .lake.tables import check_no_lake_table
from .text.formats import OUTPUT_FORMATS
from .whole.system_errors import files_below

TABLES: Final = ".duckdb"
"""The suffix of files that hold tables."""
STANDARD_STREAM: Final = "-"
"""Standard input or output, where a file's name could stand."""
COMPRESSIONS: Final = (".gz", ".bz2", ".xz", ".zst")
_TEXT_FORMATS: Final = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_FORMATS: Final = {
    **{
        suffix + compression: kind
        for suffix, kind in _TEXT_FORMATS.items()
        for compression in ("", *COMPRESSIONS)
    },
    **dict.fromkeys((".parquet", ".pq", ".parq"), "parquet"),
}
FILE_SUFFIXES: Final = (*_TEXT_FORMATS, ".parquet", ".pq", ".parq")
"""Of input files; those of text may be followed by one of `COMPRESSIONS`."""
OUTPUT_SUFFIXES: Final = ".parquet, .csv, .duckdb"
"""How messages begin to list those of outputs."""
OTHER_OUTPUT_SUFFIXES: Final = ".tsv, .jsonl; text also with .gz or .zst"
"""And how they go on."""
COMMON_SUFFIXES: Final = ".csv, .csv.gz, .parquet"
"""How messages begin to list them."""
OTHER_SUFFIXES: Final = ".tsv, .jsonl, .ndjson, .pq, .parq; text also with .gz, .bz2, .xz, .zst"
"""And how they go on."""
OUTPUT_MARK: Final = ".scored"
"""What the name of an output ends with before its suffix, unless the user names it."""
_WORKING: Final = ".working"


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
    suffixes = PurePath(path.name.lower()).suffixes
    both = "".join(suffixes[-2:])
    return both if both in _FORMATS else "".join(suffixes[-1:])


def format_of(path: PurePath) -> str | None:
    """Return what an input file is by its suffix: csv, tsv, jsonl or parquet; None if unknown."""
    return _FORMATS.get(suffix_of(path))


def output_format_of(path: PurePath) -> str | None:
    """Return what an output file is by its suffix, one of `OUTPUT_FORMATS`; None if unknown."""
    kind = f"{format_of(path)}{declared_compression(path) or ''}"
    return kind if kind in OUTPUT_FORMATS else None


def declared_compression(path: PurePath) -> str | None:
    """Return how a file is compressed by its suffix."""
    last = PurePath(path.name.lower()).suffix
    return last if last in COMPRESSIONS else None


def stem_of(path: PurePath) -> str:
    """Return the name without that suffix."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.name


def is_input(file: Path) -> bool:
    """Whether a file found in a folder is meant: data, not hidden, not an output of ours."""
    return (
        format_of(file) is not None
        and not file.name.startswith((".", "_"))
        and not is_our_output(file)
    )


def is_our_output(path: PurePath) -> bool:
    """Whether a file or folder has a name that `score` gives its outputs."""
    return stem_of(path).endswith(OUTPUT_MARK) or path.name.endswith(OUTPUT_MARK)


def is_left_out(file: Path) -> bool:
    """Whether a file found in a folder holds perhaps data, but has no suffix that says so."""
    return (
        format_of(file) is None and not file.name.startswith((".", "_")) and not is_our_output(file)
    )


def names_folder(path: Path) -> bool:
    """Whether an output's name is a folder's: without a suffix, or with a date for one."""
    suffix = suffix_of(path)
    return not suffix or (re.fullmatch(r"[.\d_-]+", suffix) is not None and len(suffix) > 4)


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, those without a suffix of ours too.

    Raises:
        BadDataError: a folder is a table of a format whose files do not all count.
        MissingInputError: an input is a broken link, or a folder may not be read.
        StorageError: a folder cannot be read.
    """
    for parent, folders, names in files_below(folder):
        check_no_lake_table(parent)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
        for name in sorted(names):
            file = parent / name
            if is_input(file) and not file.exists():
                raise MissingInputError(f"{file} is a broken link: correct or remove it")
            yield file


def visited_once(files: Iterable[Path]) -> list[Path]:
    """Sort the files, without those met again by way of a link to a folder."""
    first: dict[tuple[str, str], Path] = {}
    for file in sorted(files, key=lambda f: (len(f.parts), f)):
        first.setdefault((os.path.realpath(file.parent), file.name), file)
    return sorted(first.values())


def sha256_file(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def working_of(snapshot: Path) -> Path:
    """Return where the working store lies whose snapshots get this name."""
    return snapshot.with_name(f"{snapshot.name}{_WORKING}")


def store_files(snapshot: Path) -> list[Path]:
    """Return the files of a store, in whose place nothing else may be written."""
    files = (snapshot, working_of(snapshot))
    return [*files, *(file.with_name(f"{file.name}.wal") for file in files)]


def snapshot_of(file: Path) -> Path:
    """Return the name that people know of either file of a store."""
    return file.with_name(file.name.removesuffix(_WORKING))
