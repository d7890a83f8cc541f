"""The text of a CSV file: decoded, its header read, its quotes checked."""

import codecs
import csv
import gzip
import io
import re
import zlib
from pathlib import Path
from typing import IO, BinaryIO, cast

from ..errors import BadDataError, MissingInputError, StorageError, UsageError, first_line
from .paths import suffix_of

_DELIMITERS = ",;\t|"
LARGEST_ROW_BYTES = 1 << 26
"""A row longer than the parser's block is refused; 64 MB holds any sane one."""


def _open_bytes(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if suffix_of(path) == ".csv.gz" else path.open("rb")


def check_encoding(path: Path, encoding: str) -> None:
    """Decode the whole file once: an error here knows its line, the parser's would not.

    Raises:
        MissingInputError: no such file.
        UsageError: unknown encoding.
        BadDataError: not in that encoding, not whole, or empty.
        StorageError: it cannot be read.
    """
    try:
        "a".encode(encoding)  # refuses codecs that are no text encodings, such as hex
        decoder = codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError):
        raise UsageError(f"unknown encoding {encoding!r}: try utf-8, latin-1, cp1252") from None
    line, size = 1, 0
    try:
        with _open_bytes(path) as stream:
            while chunk := stream.read(1 << 20):
                size += len(chunk)
                line += decoder.decode(chunk).count("\n")
            decoder.decode(b"", final=True)
    except FileNotFoundError:
        raise MissingInputError(f"{path} does not exist: check the path") from None
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError):
            line += bytes(error.object)[: error.start].count(b"\n")
        raise BadDataError(
            f"{path} is not {encoding} (line {line}): "
            "name its encoding, such as --encoding latin-1 or cp1252"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadDataError(f"{path} is not whole gzip data ({first_line(error)})") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {first_line(error)}") from None
    if size == 0:
        raise BadDataError(f"{path} is empty: it needs a header line at least")


def open_text(path: Path, encoding: str) -> IO[str]:
    """Open a `.csv` or `.csv.gz` file behind its byte-order mark, line ends as they are."""
    stream = io.TextIOWrapper(_open_bytes(path), encoding=encoding, newline="")
    if stream.read(1) == "\ufeff":
        return stream
    stream.seek(0)
    return stream


def read_header(path: Path, encoding: str) -> tuple[list[str], str]:
    """Return the column names and the delimiter: the one most frequent in the header.

    Raises:
        BadDataError: there is no header.
    """
    csv.field_size_limit(LARGEST_ROW_BYTES)
    with open_text(path, encoding) as stream:
        start = stream.read(1 << 16).lstrip("\r\n")
    outside_quotes = re.sub(r'"[^"]*"', "", start)
    line = re.split(r"[\r\n]", outside_quotes, maxsplit=1)[0]
    delimiter = max(_DELIMITERS, key=line.count)
    with open_text(path, encoding) as stream:
        try:
            header = next((row for row in csv.reader(stream, delimiter=delimiter) if row), [])
        except csv.Error as error:
            raise BadDataError(f"{path}: its header cannot be parsed ({error})") from None
    if not any(name.strip() for name in header):
        raise BadDataError(f"{path} has no header line: it needs one that names its columns")
    return header, delimiter


class Utf8Stream(io.RawIOBase):
    """The file's bytes as UTF-8, for the parser: no byte-order mark, no blank lines before
    the header, a line end after the last row."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._text = open_text(path, encoding)
        self._rest = b""
        self._last = ""
        self.quotes = 0
        """How many have been read."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = self._text.read(1 << 20)
            if not chunk:
                self._rest += b"\n" if self._last not in ("", "\n", "\r") else b""
                self._last = ""
                break
            if not self._last:
                chunk = chunk.lstrip("\r\n")
            self._last = chunk[-1:]
            self.quotes += chunk.count('"')
            self._rest += chunk.encode()
        cut = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:cut], self._rest[cut:]
        return data

    def close(self) -> None:
        self._text.close()
        super().close()


def check_quotes(path: Path, encoding: str, delimiter: str) -> None:
    """Refuse a quote that is not closed: it makes the rows after it part of one value.

    Raises:
        BadDataError: naming the line.
    """
    with open_text(path, encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        while True:
            before = reader.line_num
            try:
                if next(reader, None) is None:
                    return
            except csv.Error as error:
                # Within one line, text after a closing quote swallows nothing.
                if "expected after" in str(error) and reader.line_num == before + 1:
                    continue
                raise BadDataError(
                    f"{path} line {before + 1}: a quote is opened and not closed, which makes "
                    "the rows after it part of one value: mend the file"
                ) from None
