"""Which way a loaded causal model is run: the fastest that gives transformers' own logits.

Families scale or cap their logits, mix tokens in ways that padding disturbs, or lay their
layers out differently. Rather than trust a list of names, a few tokens go through the model
as transformers runs it and through each way in turn.
"""

from collections.abc import Iterator
from typing import Any, Final

import torch

from ...errors import ConfigError
from ..guard import loading
from .decoders import Decoder, PackedDecoder, PaddedDecoder, packable
from .prompt_tokens import PromptTokens

_SHORT, _LONG = 10, 16
"""Tokens of the row that is compared and of the one beside it."""
HEAD_TOLERANCE: Final = 1e-4
"""How far logits may be from transformers' own where only the output head is another, relative
to the largest; in fp32, as below."""
TOLERANCE: Final = 1e-2
"""The same for packed or padded rows, whose sums run in another order through all layers."""


class PackingDiffersError(Exception):
    """Packed, a model answers otherwise; trying that has taken its layers: load it again."""


@torch.inference_mode()
def make_decoder(model: Any, tokens: PromptTokens, *, packed: bool | None = None) -> Decoder:
    """Return the way to run a model: packed, padded, or texts of one length together.

    `packed` asks for the one or the other, for comparisons.

    Raises:
        ConfigError: in none of them the answers are transformers' own.
        PackingDiffersError: not packed; `model` is spent.
    """
    spent = False
    ids = tokens.encode(["Nordkap lifts its guidance"]).rows()[0]
    rows = [ids[:_LONG], ids[:_SHORT]]
    with loading(f"{type(model).__name__} on a few tokens", "name another model"):
        own = PaddedDecoder(model, tokens.label_ids, own_head=True, mixed=False)
        expected = own.logits(rows[1:], torch.float32)[0]
        if not bool(expected.isfinite().all()):
            return own  # damaged weights: whoever scores with it finds no numbers, and says so
        for decoder in _ways(model, tokens, expected, rows[1], packed=packed):
            if close(decoder.logits(rows, torch.float32)[1], expected, TOLERANCE):
                return decoder
            if spent := isinstance(decoder, PackedDecoder):
                break
    if spent:
        raise PackingDiffersError
    raise ConfigError(
        f"{type(model).__name__}: its answers here would not be transformers' own; name a model of "
        "another family"
    )


def _ways(
    model: Any, tokens: PromptTokens, expected: torch.Tensor, row: list[int], *, packed: bool | None
) -> Iterator[Decoder]:
    labels = tokens.label_ids
    plain_head = _plain_head(model, tokens, expected, row)
    if packed is not False and plain_head and packable(model.config, tokens.max_length):
        yield PackedDecoder(model, labels, tokens.prefix)
    if not packed:
        yield PaddedDecoder(model, labels, own_head=not plain_head)
        yield PaddedDecoder(model, labels, own_head=not plain_head, mixed=False)


def _plain_head(model: Any, tokens: PromptTokens, expected: torch.Tensor, row: list[int]) -> bool:
    """Return whether the logits are the output head's product with the last token's state."""
    head = model.get_output_embeddings()
    if getattr(head, "weight", None) is None or model.base_model is model:
        return False
    try:
        found = PaddedDecoder(model, tokens.label_ids).logits([row], torch.float32)[0]
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return False  # its body is called otherwise: the whole model's own forward is left
    return close(found, expected, HEAD_TOLERANCE)


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    """Return whether logits are within a tolerance of those expected, relative to the largest."""
    scale = expected.abs().amax().clamp_min(1e-3)
    return bool(((found - expected).abs() <= tolerance * scale).all())
