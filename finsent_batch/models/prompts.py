"""The question a causal model is asked, and the words it may answer with.

The default wording is the tutorial's: the headline stands in square brackets, the answer
follows the equals sign. One implementation serves training, scoring and merging; a model
directory keeps the prompt that its adapter was trained on, and `--prompt` gives one to a
model that keeps none.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError, MissingInputError
from ..io.text.parsing import parse_toml
from ..labels import LABELS

_HEADLINE: Final = "{headline}"
# Wide and vertical brackets too: some tokenizers make square ones of them (NFKC).
_BRACKETS = str.maketrans("[]\uff3b\uff3d\ufe47\ufe48", "()()()")
# What may enclose a headline, and what stands for it inside.
_ENCLOSING: Final = {
    "(": "[", ")": "]", "<": "(", ">": ")", "{": "(", "}": ")", '"': "'", "\u201c": "'",
    "\u201d": "'", "\u00ab": "'", "\u00bb": "'", "`": "'",
}  # fmt: skip
_ORDINARY: Final = frozenset(".,;:!?'\u2019-")
"""Marks that are too common in headlines to tell where one ends."""
_KNOWN_VERSION: Final = 2
SEAMS: Final = ("text", "tokens")


def neutralize(headline: str) -> str:
    """Return the headline as it may stand inside the square brackets of a prompt.

    Square brackets become round ones and any white space one space, so that no
    headline can close the bracket and go on with an answer of its own.
    """
    return " ".join(headline.translate(_BRACKETS).split())


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """An instruction with a place for the headline, and a word for each of `LABELS`."""

    version: int = 1
    template: str
    """Holds `{headline}` once."""
    label_words: tuple[str, str, str] = ("negative", "neutral", "positive")
    """Words as in `LABELS`; each follows the prompt, after a space where it ends without one."""
    seam: str = "text"
    """How the answer's tokens follow the prompt's: those of the whole `text`, or `tokens` of the
    label word by itself behind those of the prompt, as some training code puts them together."""

    def ask(self, headline: str) -> str:
        """Return the prompt of a headline, up to where the answer begins."""
        return self.template.replace(_HEADLINE, self.neutralize(headline))

    def answer(self, label: str) -> str:
        """Return the text that follows the prompt where the answer is `label`."""
        word = self.label_words[LABELS.index(label)]
        return word if self.template[-1:].isspace() or word[:1].isspace() else " " + word

    def neutralize(self, headline: str) -> str:
        """Return the headline as it may stand in this prompt: it can imitate none of its marks.

        White space becomes one space, what encloses the headline becomes something else, and
        what stands around it in the template, such as `Answer:`, is left out.
        """
        if self._bracketed:
            headline = headline.translate(_BRACKETS)
        headline = " ".join(headline.translate(self._enclosing).split())
        while self._marks and (found := self._marks.search(headline)):
            headline = " ".join((headline[: found.start()] + " " + headline[found.end() :]).split())
        return headline

    @cached_property
    def _bracketed(self) -> bool:
        return bool({"[", "]"} & set(self.template))

    @cached_property
    def _sides(self) -> tuple[str, str]:
        before, _, after = self.template.partition(_HEADLINE)
        return before, after

    @cached_property
    def _enclosing(self) -> dict[int, str]:
        """What replaces the characters directly around the headline, and their wide forms."""
        before, after = self._sides
        around = {before[-1:], after[:1]} & set(_ENCLOSING)
        table = {}
        for mark in around:
            other = _ENCLOSING[mark] if not (self._bracketed and mark in "()") else "'"
            table[ord(mark)] = other
            if ord(mark) < 0x7F:
                table[ord(mark) + 0xFEE0] = other
        return table

    @cached_property
    def _marks(self) -> re.Pattern[str] | None:
        """A pattern of the lines around the headline that no headline may hold."""
        before, after = self._sides
        lines = [before.rpartition("\n")[2], *after.splitlines()]
        found = {" ".join(line.translate(self._enclosing).split()) for line in lines}
        telling = [m for m in found if _is_mark(m) and not (self._bracketed and set("[]") & set(m))]
        if not telling:
            return None
        return re.compile("|".join(map(re.escape, sorted(telling, key=len))), re.IGNORECASE)

    def to_card(self) -> dict[str, Any]:
        """Return the prompt as the manifest keeps it."""
        card = {
            "version": self.version,
            "template": self.template,
            "label_words": dict(zip(LABELS, self.label_words, strict=True)),
        }
        return card if self.seam == "text" else card | {"seam": self.seam}

    @staticmethod
    def from_card(card: Any, where: str) -> "Prompt":
        """Return the prompt that a manifest keeps.

        Raises:
            ConfigError: it has none, or one of another version.
        """
        return _parsed(card, f"{where}: the prompt in finsent.json")


def _is_mark(text: str) -> bool:
    """Return whether a line of the template is more than words that any headline may hold."""
    signs = [c for c in text if not (c.isalnum() or c.isspace())]
    return bool(signs) and (len(text) > 1 or text not in _ORDINARY)


def load_prompt(value: str) -> Prompt:
    """Return the prompt that `--prompt` names: one of `PROMPTS`, or a TOML file.

    The file holds `template`, a table `label_words`, and `seam` where it is not `text`.

    Raises:
        ConfigError: the file holds no prompt.
        MissingInputError: there is no such file.
    """
    if value in PROMPTS:
        return PROMPTS[value]
    file = Path(value).expanduser()
    if not file.is_file():
        raise MissingInputError(
            f"no prompt {value}: name a TOML file with a template and label_words, or one of "
            f"{', '.join(PROMPTS)}"
        )
    try:
        content = parse_toml(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as TOML ({error}): correct it") from None
    if unknown := set(content) - {"version", "template", "label_words", "seam"}:
        raise ConfigError(
            f"{file}: {min(unknown)} is not part of a prompt: it has template, label_words and seam"
        )
    return _parsed(content, str(file))


def _parsed(card: Any, what: str) -> Prompt:
    try:
        version, template = int(card.get("version", 1)), card["template"]
        words = card.get("label_words", dict(zip(LABELS, LABELS, strict=True)))
        negative, neutral, positive = (words[label] for label in LABELS)
        texts = (template, negative, neutral, positive)
        if not all(isinstance(text, str) and text for text in texts):
            raise TypeError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{what} names no prompt with a template and three label words (negative, neutral, "
            "positive): write them, or give --prompt FILE.toml"
        ) from None
    seam = card.get("seam", "text")
    if version > _KNOWN_VERSION:
        raise ConfigError(
            f"{what} has version {version}, this version of finsent-batch knows "
            f"{_KNOWN_VERSION}: upgrade finsent-batch"
        )
    if template.count(_HEADLINE) != 1:
        raise ConfigError(f"{what} must hold {_HEADLINE} once: {template[:200]!r}")
    if seam not in SEAMS:
        raise ConfigError(f"{what} has seam {seam!r}: it is {' or '.join(SEAMS)}")
    words = (negative, neutral, positive)
    return Prompt(version=version, template=template, label_words=words, seam=seam)


# The blanks before two of the line ends are the tutorial's.
_LINES: Final = (
    "Analyze the sentiment of the news headline enclosed in square brackets, ",
    "determine if it is positive, neutral, or negative, and return the answer as ",
    'the corresponding sentiment label "positive" or "neutral" or "negative".',
)
DEFAULT_PROMPT: Final = Prompt(template="\n".join([*_LINES, "", f"[{_HEADLINE}] ="]))
_INDENTED: Final = Prompt(
    template="\n            ".join(_LINES) + f"\n\n            [{_HEADLINE}] ="
)
PROMPTS: Final = {"tutorial": DEFAULT_PROMPT, "tutorial-indented": _INDENTED}
"""Prompts that `--prompt` knows by name; the second is the first as it comes out of a notebook
whose text block is indented in its function."""


def assumed_note(name: str) -> str:
    """Return what is said of a model that is asked `DEFAULT_PROMPT` because nothing names one."""
    return (
        f"{name} is asked the tutorial's prompt, as no file of it names one: give another with "
        f"--prompt, or keep this one with 'finsent-batch models describe {name} --write'"
    )
