"""Texts as a causal model's token ids: those of its own AutoTokenizer, with the text still open."""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

PROBES = ("Nordkap lifts", "12 % up", "'We", '"Quote', "(a)", "é", "x", "$3")
"""Beginnings of headlines that tokenizers merge with what stands before them in different ways."""


class TextIds:
    """Encodes whole prompts that follow `template`.

    Special tokens that a template writes out, as chat templates do, are special tokens; in a
    headline they are the characters that they are written with. A beginning-of-text token is
    not added a second time, and an end-of-text token never: the answer is still to come.
    `whole` is the AutoTokenizer that `backend` belongs to, or stands alone where there is none.
    """

    def __init__(self, backend: Tokenizer | None, template: str = "", whole: Any = None) -> None:
        self._backend = backend
        self._whole = whole
        marks = self._special_texts()
        self._written = any(mark in template for mark in marks)
        self._marks = sorted(marks, key=len, reverse=True) if self._written else []
        if backend is not None:
            # A headline that holds "</s>" holds those four characters, not the end of the text.
            backend.encode_special_tokens = not self._written
        bare, dressed = self._ids(["a"], special=False)[0], self._ids(["a"], special=True)[0]
        at = next(
            (i for i in range(len(dressed)) if dressed[i : i + len(bare)] == bare), len(dressed)
        )
        self._trailing = max(0, len(dressed) - at - len(bare))
        first = self._piece(dressed[0]) if at else ""
        self._special = not (first and self._written and template.startswith(first))
        if not self._special:
            self._trailing = 0

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids."""
        found = self._ids(texts, special=self._special)
        return [row[: len(row) - self._trailing] for row in found] if self._trailing else found

    def alone(self, word: str) -> list[int]:
        """Return a word's own ids, as it is tokenized with nothing around it."""
        return self._ids([word], special=False)[0]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return what tokens are called."""
        return [self._piece(i) for i in ids]

    def harmless(self, headline: str) -> str:
        """Return a headline in which no special token of the tokenizer is written out."""
        for mark in self._marks:
            while mark in headline:
                headline = headline.replace(mark, f"{mark[:1]} {mark[1:]}" if mark[1:] else " ")
        return headline

    def _ids(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        if self._backend is not None:
            found = self._backend.encode_batch_fast(list(texts), add_special_tokens=special)
            return [encoded.ids for encoded in found]
        if not texts:
            return []
        options = {"add_special_tokens": special, "split_special_tokens": not self._written}
        return [list(row) for row in self._whole(list(texts), **options)["input_ids"]]

    def _piece(self, token: int) -> str:
        if self._backend is not None:
            return str(self._backend.id_to_token(token))
        return str(self._whole.convert_ids_to_tokens(token))

    def _special_texts(self) -> list[str]:
        if self._backend is not None:
            added = self._backend.get_added_tokens_decoder().values()
        else:
            added = self._whole.added_tokens_decoder.values()
        return [token.content for token in added if token.content.strip()]
