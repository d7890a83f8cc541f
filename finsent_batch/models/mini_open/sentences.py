"""Sentences like those of company news, made by a grammar: training rows free to use.

`python -m finsent_batch.models.mini_open.sentences -o sentences.csv` writes `text,label`. The
sentences, names and figures are invented. `*.toml` beside this file hold the grammar: lists of
templates by label, and what may stand in their slots.
"""

import argparse
import csv
import random
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ...errors import FinsentError
from ...io.atomic import replacing
from ...labelled.duplicates import duplicate_key
from ...labels import LABELS
from .figures import Figures
from .names import company, person

GRAMMAR: Final = Path(__file__).parent
PER_LABEL: Final = {"negative": 12_000, "neutral": 18_000, "positive": 12_000}
_CHOICE: Final = re.compile(r"\[([^\[\]]*)\]")
_SLOT: Final = re.compile(r"\{(\w+)\}")
_NAMES: Final = {"other": company, "person": person}
_DIRECTED: Final = ("negative", "positive")


class Grammar:
    """Templates by label, and the slots that a label's sentences draw from."""

    def __init__(self, folder: Path = GRAMMAR) -> None:
        slots = _read(folder / "slots.toml")
        directed = _read(folder / "directed.toml")
        self._slots: dict[str, dict[str, list[str]]] = {}
        self._templates: dict[str, list[list[str]]] = {}
        for label in LABELS:
            own = _read(folder / f"{label}.toml")
            topics = [*own.values()]
            if label in _DIRECTED:
                topics += [*directed["templates"].values()]
            self._slots[label] = {**slots, **directed.get(label, {})}
            self._templates[label] = topics

    def sentences(self, label: str, count: int, *, seed: int) -> Iterator[str]:
        """Yield `count` sentences of a label, no two with one `duplicate_key`.

        Topics are drawn by the root of their number of templates, so that a long list does
        not crowd out a short one.
        """
        draw = random.Random(f"{seed} {label}")
        topics = self._templates[label]
        weights = [len(topic) ** 0.7 for topic in topics]
        seen: set[str] = set()
        while len(seen) < count:
            template = draw.choice(draw.choices(topics, weights)[0])
            text = self._sentence(template, label, draw)
            if (key := duplicate_key(text)) not in seen:
                seen.add(key)
                yield text

    def _sentence(self, template: str, label: str, draw: random.Random) -> str:
        figures = Figures(draw, larger_first=label == "positive")
        subject = company(draw)
        slots = self._slots[label]

        def filled(found: re.Match[str]) -> str:
            name = found[1]
            if name == "company":
                return subject
            if name in _NAMES:
                return _NAMES[name](draw)
            return draw.choice(slots[name]) if name in slots else figures.draw(name)

        text = template
        while "[" in text or "{" in text:
            text = _CHOICE.sub(lambda found: draw.choice(found[1].split("|")), text)
            if "[" not in text:
                text = _SLOT.sub(filled, text)
        return _tidy(text)


def _read(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text("utf-8"))


def _tidy(text: str) -> str:
    """Return the sentence with single blanks, none before a comma, and a capital first."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" (?=[,.;:](?:\s|$))", "", text)
    text = re.sub(r"\ba (?=[aeiouAEIOU](?!ne\b|uro|U\b))", "an ", text)
    return text[0].upper() + text[1:]


def write_sentences(file: Path, per_label: Mapping[str, int] = PER_LABEL, *, seed: int = 0) -> None:
    """Write `text,label` rows as CSV, in an order drawn from the seed."""
    grammar = Grammar()
    rows = [
        (text, label)
        for label in LABELS
        for text in grammar.sentences(label, per_label[label], seed=seed)
    ]
    random.Random(seed).shuffle(rows)
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def main() -> None:
    """Write the sentences where the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        write_sentences(given.output, seed=given.seed)
    except FinsentError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
