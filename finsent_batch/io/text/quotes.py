"""Whether every quote of a CSV file opens or closes a field, looked at while the file is parsed."""

import numpy as np

_QUOTE, _BACKSLASH = ord('"'), ord("\\")


class QuoteScan:
    """Follows the quotes of a file, chunk by chunk.

    A file is well-formed if quotes in turn open a field (at its beginning) and close it (at its
    end), two together standing for one inside. Anything else is for the exact check, which is slow.
    """

    def __init__(self, delimiter: str) -> None:
        self._ends = np.zeros(256, np.bool_)
        self._ends[[ord(delimiter), ord("\n"), ord("\r"), _QUOTE]] = True
        self._line_ends = np.zeros(256, np.bool_)
        self._line_ends[[ord("\n"), ord("\r")]] = True
        self._rest = b"\n"
        self.quotes = 0
        """How many there are."""
        self.odd = False
        """Whether one stands where a well-formed file has none."""
        self.multi_line = False
        """Whether a line ends between an opening and a closing one."""
        self.backslash = False
        """Whether one stands behind a backslash."""
        self.backslashes = False
        """Whether there are backslashes at all."""

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes, UTF-8."""
        self.backslashes = self.backslashes or b"\\" in chunk
        content = np.frombuffer(self._rest + chunk, np.uint8)
        self._rest = (self._rest + chunk)[-2:]
        at = np.flatnonzero(content[1:-1] == _QUOTE) + 1
        if not self.multi_line and (len(at) or self.quotes % 2):
            ends = np.flatnonzero(self._line_ends[content[1:-1]]) + 1
            inside = (self.quotes + np.searchsorted(at, ends)) % 2 == 1
            self.multi_line = bool(inside.any())
        if not len(at):
            return
        opens = (self.quotes + np.arange(len(at))) % 2 == 0
        before, after = content[at - 1], content[at + 1]
        wrong = np.where(opens, ~self._ends[before], ~self._ends[after])
        self.quotes += len(at)
        self.odd = self.odd or bool(wrong.any())
        self.backslash = self.backslash or bool((before == _BACKSLASH).any())

    def close(self) -> None:
        """The file has ended."""
        self.feed(b"\n")
        self.odd = self.odd or self.quotes % 2 == 1
