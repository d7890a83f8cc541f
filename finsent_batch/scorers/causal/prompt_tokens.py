"""Prompts as token ids: where the shared instruction ends, which token names each label."""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ...errors import ConfigError, UnavailableError
from ...labels import LABELS
from ...models.base_weights import FROM_DISK
from ...models.prompts import Prompt
from ...models.spec import ModelSpec
from ..base import Tokenized
from ..guard import loading
from .text_ids import PROBES, TextIds

# Characters in a token, at most, in common vocabularies: more of a headline need not be read.
_LONGEST_PIECE = 64
# Tokens of one character, at most: its UTF-8 bytes.
_LONGEST_CHARACTER = 4
# Tokens shown on each side of a seam.
_SHOWN = 4
_REMEDY = "copy tokenizer.json (or tokenizer.model) and tokenizer_config.json there"


class PromptTokens:
    """Turns headlines into whole prompts of at most `max_length` tokens.

    `prefix` is what all prompts begin with, the longest common run of tokens, not
    of characters: the bracket and a headline's first letters can be one token.
    `label_ids` are the tokens that a model compares: the first that each label's
    word adds to the prompt.
    """

    def __init__(self, tokenizer: TextIds | Tokenizer, prompt: Prompt, max_length: int) -> None:
        self._tokenizer = (
            tokenizer if isinstance(tokenizer, TextIds) else TextIds(tokenizer, prompt.template)
        )
        self._prompt = prompt
        self.max_length = max_length
        probes = [self._encode(text) for text in PROBES]
        self.prefix = _common_prefix(probes)
        self.answers = tuple(self._answer(label) for label in LABELS)
        self.label_ids = self._label_ids()
        alone = len(self._encode(""))
        if alone + _LONGEST_CHARACTER > max_length:
            raise ConfigError(
                f"the prompt alone takes {alone} tokens of {max_length}: raise --max-length, or "
                "use a model with larger max_position_embeddings"
            )

    def encode(self, texts: Sequence[str]) -> Tokenized:
        """Return each text's prompt as ids; what is too long is cut at the headline's end."""
        most = self.max_length * _LONGEST_PIECE
        ids = self._tokenizer.encode([self._ask(text[:most]) for text in texts])
        cut = np.fromiter((len(text) > most for text in texts), np.bool_, len(texts))
        for i, row in enumerate(ids):
            if len(row) > self.max_length:
                cut[i] = True
                ids[i] = self._longest(texts[i][:most])
        return Tokenized.of(ids, cut)

    def _longest(self, headline: str) -> list[int]:
        """Return the prompt of as much of the headline's beginning as fits.

        The text is cut, not its tokens: the headline's last letters and the bracket
        after it can be one token.
        """
        fits, beyond = 0, len(headline)
        found = self._encode("")
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            ids = self._encode(headline[:middle])
            if len(ids) <= self.max_length:
                fits, found = middle, ids
            else:
                beyond = middle
        return found

    def _ask(self, headline: str) -> str:
        return self._prompt.ask(self._tokenizer.harmless(headline))

    def _encode(self, headline: str) -> list[int]:
        return self._tokenizer.encode([self._ask(headline)])[0]

    def describe_labels(self) -> str:
        """Return each label's word and the pieces it is made of, the compared one first."""
        return "; ".join(
            f"{word!r} → {' '.join(map(repr, self._tokenizer.pieces(ids)))}"
            + (" (told by the first)" * (len(ids) > 1))
            for word, ids in zip(self._prompt.label_words, self.answers, strict=True)
        )

    def describe_seam(self, headline: str) -> tuple[list[str], list[str]]:
        """Return the pieces around a headline's beginning, and those at the prompt's end."""
        pieces = self._tokenizer.pieces(self._encode(headline))
        start = max(0, len(self.prefix) - _SHOWN)
        return pieces[start : len(self.prefix) + _SHOWN], pieces[-_SHOWN:]

    def _answer(self, label: str) -> list[int]:
        """Return the tokens that a label's word adds to a prompt."""
        question = self._prompt.ask(PROBES[0])
        answer = self._prompt.answer(label)
        if self._prompt.seam == "tokens":
            return self._tokenizer.alone(answer.strip())
        asked, answered = self._tokenizer.encode([question, question + answer])
        added = answered[len(asked) :]
        if answered[: len(asked)] != asked or not added:
            last = self._tokenizer.pieces(answered[-1:])[0]
            raise ConfigError(
                f"the label word {answer!r} merges with the end of the prompt into {last!r}: end "
                'the prompt template differently, or set seam = "tokens" in it if the model was '
                "trained with prompt and answer tokenized apart"
            )
        return added

    def _label_ids(self) -> tuple[int, int, int]:
        """Return the first token of each label's word, in the order of `LABELS`."""
        if not all(self.answers) or len({ids[0] for ids in self.answers}) < len(LABELS):
            raise ConfigError(
                f"the label words do not begin with different tokens ({self.describe_labels()}): "
                "choose label words that do"
            )
        negative, neutral, positive = (ids[0] for ids in self.answers)
        return negative, neutral, positive


def _common_prefix(rows: Sequence[list[int]]) -> list[int]:
    """Return the longest run of tokens that all rows begin with."""
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return [column[0] for column in shared]


def load_prompt_tokens(spec: ModelSpec) -> PromptTokens:
    """Load the model's tokenizer and find prefix and label tokens with it.

    Raises:
        ConfigError: there is no tokenizer, its label tokens cannot be told apart,
            or they are not those that the adapter was trained with.
    """
    assert spec.prompt is not None
    tokens = PromptTokens(load_text_ids(spec), spec.prompt, spec.max_length)
    trained = spec.manifest.get("label_token_ids")
    if trained is not None and tuple(trained) != tokens.label_ids:
        raise ConfigError(
            f"{spec.name}: its adapter was trained with label tokens {list(trained)}, the "
            f"tokenizer in {spec.tokenizer} gives {list(tokens.label_ids)}: the vocabulary is "
            "another one"
        )
    return tokens


def _check_readers(folder: Path) -> None:
    if (folder / "tokenizer.json").exists() or not (folder / "tokenizer.model").exists():
        return
    # transformers finds them by name, and misses them with a message about another library.
    missing = [name for name in ("sentencepiece", "google.protobuf") if not _installed(name)]
    if missing:
        raise UnavailableError(
            f"{folder} has its tokenizer in tokenizer.model, which {' and '.join(missing)} "
            "would read: pip install 'finsent-batch[llm]', or copy tokenizer.json there"
        )


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package that it would be in is not there
        return False


def load_text_ids(spec: ModelSpec) -> TextIds:
    """Return what encodes a model's prompts, in Rust where that gives AutoTokenizer's own ids.

    Raises:
        ConfigError: the folder holds no tokenizer that can be loaded.
        UnavailableError: it holds a tokenizer.model, and what reads one is not installed.
    """
    assert spec.prompt is not None
    whole = load_tokenizer(spec.tokenizer)
    template = spec.prompt.template
    with loading(f"the tokenizer in {spec.tokenizer}", _REMEDY):
        asked = [spec.prompt.ask(probe) for probe in PROBES]
        own = [list(row) for row in whole(asked)["input_ids"]]
        backend = getattr(whole, "backend_tokenizer", None)
        if backend is None or not hasattr(backend, "encode_batch_fast"):
            return TextIds(None, template, whole)
        backend.no_truncation()
        backend.no_padding()
        same = [encoded.ids for encoded in backend.encode_batch_fast(asked)] == own
        return TextIds(backend if same else None, template, whole)


def load_tokenizer(folder: Path) -> Any:
    """Return a folder's AutoTokenizer.

    Raises:
        ConfigError: the folder holds no tokenizer that can be loaded.
        UnavailableError: it holds a tokenizer.model, and what reads one is not installed.
    """
    from transformers import AutoTokenizer

    _check_readers(folder)
    with loading(f"the tokenizer in {folder}", _REMEDY):
        return AutoTokenizer.from_pretrained(folder, **FROM_DISK)
