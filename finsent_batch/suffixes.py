"""The suffix of a name says what a file is, in capitals or not."""

from pathlib import PurePath


def suffix_of(path: PurePath) -> str:
    """Return the suffix that decides the format, in small letters, `.csv.gz` as one."""
    name = path.name.lower()
    return ".csv.gz" if name.endswith(".csv.gz") else PurePath(name).suffix


def stem_of(path: PurePath) -> str:
    """Return the name without that suffix."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.name
