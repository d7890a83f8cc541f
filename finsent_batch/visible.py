"""Text of others as people are shown it: nothing in it reaches the terminal as a command.

Headlines, file names and keys come from anywhere. An escape sequence in one could clear the
screen, set the window's title or paste a command; a bidirectional control could turn a line
around.
"""

import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
"""C0 (but tab and newline), C1, Bidi_Control, line separators, the byte-order mark."""


def visible(text: str) -> str:
    """Return text with control and bidirectional characters as escapes such as `\\x1b`."""
    return _HIDDEN.sub(_escape, text)


def visible_line(text: str) -> str:
    """Return `visible(text)` with line ends and tabs as escapes too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def visible_json(text: str) -> str:
    """Return a JSON document with those characters as JSON's own escapes: the same document."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
