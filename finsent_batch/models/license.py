"""The licence that a model's card names."""

import re
from pathlib import Path
from typing import Final

_LARGEST: Final = 65_536
_FRONT: Final = re.compile(r"\A---\r?\n(.*?)\r?\n---\s", re.DOTALL)
_LICENSE: Final = re.compile(r"^license:[ \t]*(['\"]?)([\w.+-]{1,64})\1[ \t]*\r?$", re.MULTILINE)

PHRASEBANK: Final = "cc-by-nc-sa-3.0"
"""What FinancialPhraseBank asks of all that is derived from it: no commercial use."""


def license_of(folder: Path) -> str | None:
    """Return the identifier in the first lines of a folder's README.md, or None without one.

    `license: …` between two lines of dashes is where the Hub's model cards have it.
    """
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as card:
            front = _FRONT.match(card.read(_LARGEST))
    except OSError:
        return None
    found = front and _LICENSE.search(front[1])
    return found[2] if found else None
