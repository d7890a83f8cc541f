"""The dialect of a CSV file: its delimiter, and how quotes are used."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

BACKSLASH: Final = "\\"


LARGEST_ROW_BYTES: Final = 1 << 26


def bounded_lines(stream: IO[str], most: float = math.inf) -> Iterator[str]:
    """Yield a stream's lines as they are, `most` characters of them.

    Raises:
        csv.Error: there are more, or a line is longer than `LARGEST_ROW_BYTES`.
    """
    while line := stream.readline(LARGEST_ROW_BYTES + 1):
        most -= len(line)
        if len(line) > LARGEST_ROW_BYTES or most < 0:
            raise csv.Error(TOO_LARGE)
        yield line


TOO_LARGE: Final = "a row of more than 64 MB"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a CSV file says where a field ends."""

    delimiter: str
    quoted: bool = True
    escape: str | None = None
    """A backslash where one stands before quotes inside of quotes; None for doubled quotes."""
    skipped: int = 0
    """Characters before the header."""
    trailing: bool = False
    """Whether rows have an empty field behind the last name."""

    def reader(self, stream: IO[str], most: float = math.inf) -> Any:
        """Return Python's reader of rows, strict about quotes.

        It raises csv.Error for too long a line, and after `most` characters: a few kilobytes
        can unpack to gigabytes.
        """
        lines = bounded_lines(stream, most)
        if self.escape:
            lines = map(self.prepared, lines)
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            escapechar=self.escape,
            strict=True,
        )

    def prepared(self, text: str) -> str:
        """Return text whose backslashes before other characters stand for themselves."""
        special = rf"\\([\"\\\r\n{re.escape(self.delimiter)}])|\\"
        return re.sub(special, lambda m: m[0] if m[1] else r"\\", text)
