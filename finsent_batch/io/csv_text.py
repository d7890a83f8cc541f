"""The text of a CSV file: unpacked, decoded, its dialect found and checked."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from ..errors import BadDataError
from .text.compression import open_unpacked
from .text.dialect import BACKSLASH, LARGEST_ROW_BYTES, TOO_LARGE, Dialect
from .text.quotes import QuoteScan

_DELIMITERS = ",;\t|\x01"  # the last is Hive's
NO_QUOTES: Final = "none"
"""A row longer than the parser's block is refused; 64 MB holds any sane one."""
# Excel's first line says the delimiter.
_SEP_LINE = re.compile(r"\A[\r\n]*\"?sep=([^\r\n])\"?(?:\r\n|\r|\n)", re.IGNORECASE)


def open_text(path: Path, encoding: str, skipped: int = 0) -> IO[str]:
    """Open a text file behind its byte-order mark and `skipped` characters, line ends as are."""

    def opened() -> IO[str]:
        return io.TextIOWrapper(open_unpacked(path), encoding=encoding, newline="")

    stream = opened()
    if stream.read(1) != "\ufeff":
        stream.close()  # some compressed streams cannot go back
        stream = opened()
    stream.read(skipped)
    return stream


def read_header(
    path: Path,
    encoding: str,
    *,
    delimiter: str | None = None,
    escape: str | None = None,
    quote: str | None = None,
) -> tuple[list[str], Dialect]:
    """Return the column names and the dialect; the delimiter is the header's most frequent one.

    Raises:
        BadDataError: there is no header.
    """
    csv.field_size_limit(LARGEST_ROW_BYTES)
    with open_text(path, encoding) as stream:
        start = stream.read(1 << 16)
    said = _SEP_LINE.match(start)
    text = start[said.end() if said else 0 :].lstrip("\r\n")
    if delimiter is None:
        line = re.split(r"[\r\n]", re.sub(r'"[^"]*"', "", text), maxsplit=1)[0]
        delimiter = said[1] if said else max(_DELIMITERS, key=line.count)
    dialect = Dialect(
        delimiter=delimiter,
        quoted=quote != NO_QUOTES,
        escape=BACKSLASH if escape == BACKSLASH else None,
        skipped=said.end() if said else 0,
    )
    with open_text(path, encoding, dialect.skipped) as stream:
        rows = (row for row in dialect.reader(stream, 2 * LARGEST_ROW_BYTES) if row)
        try:
            header: list[str] = next(rows, [])
        except csv.Error as error:
            if str(error) == TOO_LARGE:
                raise BadDataError(f"{path} has a header of more than 64 MB: check it") from None
            if "unexpected end" in str(error):
                raise BadDataError(
                    f"{path} line 1: a quote is opened and not closed, which makes the rows after "
                    "it part of one name: correct the file"
                ) from None
            raise BadDataError(
                f"{path}: its header cannot be parsed ({error}): correct it"
            ) from None
        try:
            first: list[str] = next(rows, [])
        except csv.Error:  # told with its line later
            first = []
    if not any(name.strip() for name in header):
        raise BadDataError(f"{path} has no header line: it needs one that names its columns")
    trailing = len(first) == len(header) + 1 and first[-1] == ""
    return header, replace(dialect, trailing=trailing)


class Utf8Stream(io.RawIOBase):
    """The file's bytes as UTF-8, for the parser: no byte-order mark, no blank lines before
    the header, a line end after the last row."""

    def __init__(self, path: Path, encoding: str, dialect: Dialect) -> None:
        self._text = open_text(path, encoding, dialect.skipped)
        self._dialect = dialect
        self._rest = b""
        self._last = ""
        self.scan = QuoteScan(dialect.delimiter)
        """What is known of the quotes so far."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = self._text.read(1 << 20)
            if chunk.endswith(BACKSLASH) and self._dialect.escape:
                chunk += self._text.read(1)
            if not chunk:
                self._rest += b"\n" if self._last not in ("", "\n", "\r") else b""
                self._last = ""
                break
            if not self._last:
                chunk = chunk.lstrip("\r\n")
            self._last = chunk[-1:]
            if self._dialect.escape:
                chunk = self._dialect.prepared(chunk)
            content = chunk.encode()
            if self._dialect.quoted:
                self.scan.feed(content)
            self._rest += content
        cut = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:cut], self._rest[cut:]
        return data

    def close(self) -> None:
        self._text.close()
        super().close()


def check_dialect(
    path: Path, encoding: str, dialect: Dialect, columns: int, scan: QuoteScan
) -> None:
    """Refuse a file whose quotes do not say surely where its fields end.

    Raises:
        BadDataError: naming the line, or the option that reads the file.
    """
    found = _problem(path, encoding, dialect)
    if dialect.escape is None and dialect.quoted and scan.backslash:
        escaped = replace(dialect, escape=BACKSLASH)
        if fits(path, encoding, escaped, columns):
            told = f"line {found[0]}" if found else "somewhere"
            raise BadDataError(
                f"{path} has quotes behind backslashes ({told}): if a backslash escapes them, read "
                "it with --escape '\\'; if it is part of the text, with --escape '\"'"
            )
    if found is None:
        return
    line, swallows = found
    problem = (
        "a quote is opened and not closed, which makes the rows after it part of one value"
        if swallows
        else "text stands behind a closing quote"
    )
    advice = "correct the file"
    if fits(path, encoding, replace(dialect, quoted=False), columns):
        advice = "if its quotes are part of the text, read it with --quote none"
        advice += ", else correct the file" if swallows else ""
    raise BadDataError(f"{path} line {line}: {problem}: {advice}")


def fits(path: Path, encoding: str, dialect: Dialect, columns: int) -> bool:
    """Return whether every row has its fields under a dialect."""
    allowed = {columns, columns + dialect.trailing}
    try:
        with open_text(path, encoding, dialect.skipped) as stream:
            return all(len(row) in allowed for row in dialect.reader(stream) if row)
    except csv.Error:
        return False


def _problem(path: Path, encoding: str, dialect: Dialect) -> tuple[int, bool] | None:
    """Return the first line whose quotes are wrong, and whether they swallow lines after it."""
    with open_text(path, encoding) as stream:
        lines_before = stream.read(dialect.skipped).count("\n")
        reader = dialect.reader(stream)
        while True:
            before = reader.line_num
            try:
                if next(reader, None) is None:
                    return None
            except csv.Error as error:
                within = "expected after" in str(error) and reader.line_num == before + 1
                return lines_before + before + 1, not within
