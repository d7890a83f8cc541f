"""Load an encoder: by torch alone where its files are known to the letter, else by transformers."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ...models.spec import ModelSpec
from ...optional_imports import quiet_libraries
from ..guard import loading
from .plain_bert import PlainBert
from .plain_tokens import plain_tokenizer
from .plain_weights import load_plain_bert
from .tokens import TextTokens

logger = logging.getLogger(__name__)

Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Gives logits (n, 3) for ids and mask of shape (n, tokens), int64."""


@dataclass(frozen=True, kw_only=True)
class LoadedEncoder:
    """An encoder in fp32 with its adapter folded in, and its tokenizer."""

    model: Any
    tokens: TextTokens
    padding: int
    """The id that fills up a batch."""
    paddable: bool
    """Whether texts of different lengths may share a batch."""

    def forward(self, dtype: torch.dtype) -> Forward:
        """Return the model's forward pass in an arithmetic."""
        model = self.model.to(dtype)
        return model if isinstance(model, PlainBert) else partial(_logits_of, model)


def load_encoder(spec: ModelSpec, device: str) -> LoadedEncoder:
    """Load base, adapter and tokenizer onto a device.

    Importing transformers and peft takes longer than all the rest, so that BERT as it was
    published is loaded without them.

    Raises:
        ConfigError: they do not fit together.
        FinsentError: they cannot be loaded.
    """
    with one_thread():
        plain = _plain(spec)
    if plain is not None:
        model, tokens = plain
        logger.debug("%s is BERT as it was published: loaded by torch alone", spec.name)
        with loading(spec.name):
            return LoadedEncoder(model=model.to(device), tokens=tokens, padding=0, paddable=True)
    with quiet_libraries():
        return _by_transformers(spec, device)


@contextmanager
def one_thread() -> Iterator[None]:
    """Work on one thread within the block: on small matrices threads wait more than they work.

    And a product's last bit then is the same on every machine of a kind.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _plain(spec: ModelSpec) -> tuple[PlainBert, TextTokens] | None:
    """Return model and tokenizer if both are known to the letter and fit together."""
    tokenizer = plain_tokenizer(spec.tokenizer)
    model = None if tokenizer is None else load_plain_bert(spec)
    if model is None or tokenizer.get_vocab_size() > model.shape.vocab_size:
        return None
    if spec.max_length > model.shape.max_position_embeddings:
        return None
    return model, TextTokens(spec, tokenizer)


def _by_transformers(spec: ModelSpec, device: str) -> LoadedEncoder:
    from .check import check_answers, padding_token
    from .model import load_classifier

    tokens = TextTokens(spec)
    with loading(spec.name):
        model = load_classifier(spec).to(device)
    paddable = check_answers(spec, model, tokens)
    padding = max(0, padding_token(model) or 0)
    return LoadedEncoder(model=model, tokens=tokens, padding=padding, paddable=paddable)


def _logits_of(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits
