"""The question a causal model is asked, and the words it may answer with.

The wording is the tutorial's: the headline stands in square brackets, the
answer follows the equals sign. One implementation serves training, scoring and
merging; a model directory keeps the prompt that its adapter was trained on.
"""

from dataclasses import dataclass
from typing import Any, Final

from ..errors import ConfigError
from ..labels import LABELS

_HEADLINE: Final = "{headline}"
# Wide and vertical brackets too: some tokenizers make square ones of them (NFKC).
_BRACKETS = str.maketrans("[]\uff3b\uff3d\ufe47\ufe48", "()()()")


def neutralise(headline: str) -> str:
    """Return the headline as it may stand inside the brackets of a prompt.

    Square brackets become round ones and any white space one space, so that no
    headline can close the bracket and go on with an answer of its own.
    """
    return " ".join(headline.translate(_BRACKETS).split())


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """An instruction with a place for the headline, and a word for each of `LABELS`."""

    version: int
    template: str
    """Holds `{headline}` once, inside square brackets."""
    label_words: tuple[str, str, str] = ("negative", "neutral", "positive")
    """Words as in `LABELS`; each follows the prompt after a space."""

    def ask(self, headline: str) -> str:
        """Return the prompt of a headline, up to where the answer begins."""
        return self.template.replace(_HEADLINE, neutralise(headline))

    def answer(self, label: str) -> str:
        """Return the text that follows the prompt where the answer is `label`."""
        return " " + self.label_words[LABELS.index(label)]

    def to_card(self) -> dict[str, Any]:
        """Return the prompt as `finsent.json` keeps it."""
        return {
            "version": self.version,
            "template": self.template,
            "label_words": dict(zip(LABELS, self.label_words, strict=True)),
        }

    @staticmethod
    def from_card(card: Any, where: str) -> "Prompt":
        """Return the prompt that a model directory keeps.

        Raises:
            ConfigError: it has none, or one of another version.
        """
        try:
            version, template = int(card["version"]), str(card["template"])
            negative, neutral, positive = (str(card["label_words"][label]) for label in LABELS)
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f"{where}: finsent.json names no prompt with a version, a template and three "
                "label words: train the adapter again"
            ) from None
        words = (negative, neutral, positive)
        if version > DEFAULT_PROMPT.version:
            raise ConfigError(
                f"{where}: its prompt has version {version}, this version of finsent-batch knows "
                f"{DEFAULT_PROMPT.version}: upgrade finsent-batch"
            )
        if template.count(_HEADLINE) != 1 or f"[{_HEADLINE}]" not in template:
            raise ConfigError(
                f"{where}: the prompt in finsent.json must hold [{_HEADLINE}] once: {template!r}"
            )
        return Prompt(version=version, template=template, label_words=words)


# The blanks before two of the line ends are the tutorial's.
DEFAULT_PROMPT: Final = Prompt(
    version=1,
    template=(
        "Analyze the sentiment of the news headline enclosed in square brackets, \n"
        "determine if it is positive, neutral, or negative, and return the answer as \n"
        'the corresponding sentiment label "positive" or "neutral" or "negative".\n'
        "\n"
        f"[{_HEADLINE}] ="
    ),
)
