"""Texts as ids: those that the model's own AutoTokenizer gives, cut at the model's length."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...models.base_weights import FROM_DISK
from ...models.spec import ModelSpec
from ..base import Tokenized
from ..guard import loading
from .token_process import encoder_of

PROBES = (
    "Nordkap lifts its 2026 guidance as net sales rise 12.5 % to EUR 1,204.7 mn from EUR 987 mn",
    "Loss WIDENS at Kestrel Foods",
    "Crédit Valois: « résultat » +5%, says 'CEO'",
    "up",
)
"""Headlines of several lengths, with what tokenizers treat differently: case, accents, digits."""


class TextTokens:
    """Encodes texts with a model's tokenizer, in Rust where it has such a backend.

    The backend alone is fastest; it is taken only if it gives `AutoTokenizer`'s own ids on the
    probes, which a class may change on the way in or out. `plain` is a backend that is known
    to give them; see `plain_tokenizer`.
    """

    def __init__(self, spec: ModelSpec, plain: Any = None) -> None:
        self.plain = plain is not None
        if self.plain:
            self.whole: Any = None
            self._backend: Any = plain
            self.cut_at(spec.max_length)
            return
        from transformers import AutoTokenizer

        remedy = "restore its tokenizer files (tokenizer.json, tokenizer_config.json)"
        with loading(f"{spec.name}: its tokenizer", remedy):
            self.whole = AutoTokenizer.from_pretrained(spec.tokenizer, **FROM_DISK)
            self._own = self.whole(list(PROBES))["input_ids"]
            self._backend = self._usable_backend()
        self.cut_at(spec.max_length)

    def cut_at(self, tokens: int) -> None:
        """Cut texts at so many tokens from now on."""
        self.max_length = tokens
        if self._backend is not None:
            side = getattr(self.whole, "truncation_side", "right")
            self._backend.enable_truncation(tokens, direction=side)
            self._encode = encoder_of(self._backend, plain=self.plain)

    def encode(self, texts: Sequence[str]) -> Tokenized:
        """Return the texts as ids, and which of them were cut."""
        if self._backend is not None:
            return self._encode(texts)
        found = self.whole(list(texts))["input_ids"] if texts else []
        cut = np.fromiter((len(row) > self.max_length for row in found), np.bool_, len(found))
        for i in np.flatnonzero(cut).tolist():
            found[i] = self.whole(texts[i], truncation=True, max_length=self.max_length)[
                "input_ids"
            ]
        return Tokenized.of(found, cut)

    @property
    def backend_file(self) -> str | None:
        """The backend as its library writes it; None where the whole tokenizer is needed."""
        return None if self._backend is None else str(self._backend.to_str())

    def _usable_backend(self) -> Any:
        backend = getattr(self.whole, "backend_tokenizer", None)
        if backend is None or not hasattr(backend, "encode_batch_fast"):
            return None
        backend.no_padding()
        backend.no_truncation()
        same = [e.ids for e in backend.encode_batch_fast(list(PROBES))] == self._own
        return backend if same else None
