"""Text files as bytes, unpacked on the way where they are compressed.

What a file is stands in its first bytes; the suffix only says what was meant.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, cast

import pyarrow as pa

from ...errors import BadDataError, first_line
from ..paths import declared_compression

BROKEN: Final = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, pa.ArrowInvalid)
"""What reading damaged compressed data can raise, besides an OSError without a number."""

_MAGIC: Final = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
_NAMES: Final = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}
_OTHERS: Final = {
    b"PK\x03\x04": "a ZIP archive (an .xlsx file is one too): unpack it, or save it as CSV",
    b"PK\x05\x06": "an empty ZIP archive: get it again",
    b"PAR1": "a Parquet file: give it the suffix .parquet",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel file: save it as CSV",
    b"ARROW1": "an Arrow file: write it as .parquet",
    b"Obj\x01": "an Avro file: write it as .parquet",
    b"ORC": "an ORC file: write it as .parquet",
    b"%PDF": "a PDF document: no table",
    b"<!DOCTYPE": "a web page (of an error or a login?): get the file again",
    b"<!doctype": "a web page (of an error or a login?): get the file again",
    b"<html": "a web page (of an error or a login?): get the file again",
    b"<?xml": "an XML document: write its rows as .csv or .jsonl",
    b"SQLite format 3": "an SQLite database: write its table as .csv or .parquet",
}


def compression_of(path: Path) -> str | None:
    """Return how a file is compressed, as its suffix would say, by its first bytes.

    Raises:
        BadDataError: it is no text, but a file of a kind that has to be unpacked or renamed.
    """
    with path.open("rb") as stream:
        start = stream.read(16)
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise BadDataError(f"{path} is {what}")
    return next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), None)


def open_unpacked(path: Path) -> BinaryIO:
    """Open a file's bytes, unpacked if it is compressed.

    Raises:
        BadDataError: see `compression_of`.
    """
    opened: dict[str | None, Callable[[Path], object]] = {
        None: lambda p: p.open("rb"),
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
        ".zst": lambda p: pa.input_stream(str(p), compression="zstd"),
    }
    return cast(BinaryIO, opened[compression_of(path)](path))


def misnamed(path: Path) -> str | None:
    """Return what to say of a file whose suffix does not say that it is compressed."""
    kind = compression_of(path)
    if kind is None or kind == declared_compression(path):
        return None
    return f"{path} is {_NAMES[kind]} data and was read as such, though its name does not say so"


def not_whole(path: Path, error: Exception) -> BadDataError:
    """Return what to raise for compressed data that cannot be read to its end."""
    name = _NAMES.get(compression_of(path) or declared_compression(path) or "", "compressed")
    return BadDataError(f"{path} is not whole {name} data ({first_line(error)}): get it again")
