"""Whether a text file is in the encoding that it is read in, and which it seems to be else."""

import codecs
from pathlib import Path
from typing import Final

from ...errors import BadDataError, MissingInputError, StorageError, UsageError, first_line
from ..paths import declared_compression
from ..whole.system_errors import unreadable
from .compression import BROKEN, compression_of, not_whole, open_unpacked

_BLANK: Final = "\ufeff\r\n\t "


class EmptyFileError(BadDataError):
    """A text file has nothing in it but line breaks and blanks."""


def check_encoding(path: Path, encoding: str, needs: str) -> None:
    """Decode the whole file once: an error here knows its line, the parser's would not.

    `needs` is the least that such a file has in it.

    Raises:
        MissingInputError: no such file.
        UsageError: unknown encoding.
        EmptyFileError: there is nothing in it.
        BadDataError: not in that encoding, not whole, or no text at all.
        StorageError: it cannot be read.
    """
    try:
        "a".encode(encoding)  # refuses codecs that are no text encodings, such as hex
        decoder = codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError):
        raise UsageError(f"unknown encoding {encoding!r}: try utf-8, latin-1, cp1252") from None
    line, blank = 1, True
    likely = _likely_encoding(path, encoding)
    try:
        if declared_compression(path) and compression_of(path) is None and path.stat().st_size:
            raise EOFError("it does not begin like that")
        with open_unpacked(path) as stream:
            while chunk := stream.read(1 << 20):
                text = decoder.decode(chunk)
                line += text.count("\n")
                blank = blank and not text.strip(_BLANK)
            decoder.decode(b"", final=True)
    except FileNotFoundError:
        raise MissingInputError(f"{path} does not exist: check the path") from None
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError):
            line += bytes(error.object)[: error.start].count(b"\n")
        if len("a".encode(encoding)) > 1:
            advice = "correct the file there, or get it again"
        else:
            named = f"--encoding {likely}" if likely else "such as --encoding latin-1 or cp1252"
            advice = f"name its encoding, {named}"
        raise BadDataError(f"{path} is not {encoding} (line {line}): {advice}") from None
    except BROKEN as error:
        raise not_whole(path, error) from None
    except PermissionError:
        raise unreadable(path) from None
    except OSError as error:
        if error.errno is None:
            raise not_whole(path, error) from None
        raise StorageError(f"cannot read {path}: {first_line(error)}") from None
    if blank:
        raise EmptyFileError(f"{path} is empty: it needs {needs} at least")
    if likely:
        raise BadDataError(
            f"{path} is not {encoding} as it seems: name its encoding, --encoding {likely}"
        )


def _likely_encoding(path: Path, encoding: str) -> str | None:
    """Return the encoding of two or four bytes a character that a file's first bytes show.

    None where they show none, or the named encoding is such a one itself.
    """
    if len("a".encode(encoding)) > 1:
        return None
    try:
        with open_unpacked(path) as stream:
            start = stream.read(1 << 10)
    except (OSError, *BROKEN):  # told by whoever reads it all
        return None
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start.count(0) * 4 < len(start) or not start:
        return None
    width = 32 if start.count(0) * 2 > len(start) else 16
    return f"utf-{width}-{'le' if start[0] else 'be'}"
