"""The dialect of a CSV file: its delimiter, and how quotes are used."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

BACKSLASH: Final = "\\"


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

    def reader(self, stream: IO[str]) -> Any:
        """Return Python's reader of rows, strict about quotes."""
        lines: Iterator[str] = stream
        if self.escape:
            lines = (self.prepared(line) for line in stream)
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
