"""Check that a classifier gives in our batches what transformers gives it text by text."""

import logging
from typing import Any

import numpy as np
import torch

from ...arrays import FloatArray
from ...errors import ConfigError
from ...models.spec import ModelSpec
from ..batching import pad
from ..guard import loading
from .tokens import PROBES, TextTokens

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""How far a probability may be from transformers' own, in fp32."""
_SAME = 1e-7


def check_answers(spec: ModelSpec, model: Any, tokens: TextTokens) -> bool:
    """Return whether texts of different lengths may be padded to one batch.

    A few texts go through the model, in fp32, as `AutoTokenizer` and transformers have it,
    one by one, and as the scorer runs them. Where padding changes an answer, as for models
    that read the last position, only texts of one length may share a batch. `tokens` is told
    to cut shorter where the model has fewer positions than its files say.

    Raises:
        ConfigError: the answers are not transformers' own in any such batch, or all the same.
    """
    _check_vocabulary(spec, model, tokens)
    _fit_positions(spec, model, tokens)
    texts = [*PROBES, _long_text(tokens)]
    with loading(f"{spec.name}: a few headlines", "name a model that transformers runs"):
        expected = _one_by_one(model, tokens, texts)
        if float(np.ptp(expected, axis=0).max()) < _SAME:
            raise ConfigError(
                f"{spec.name}: it gives every text the same answer here, in transformers, too: "
                "name another model"
            )
        unpadded = padding_token(model) is None
        if unpadded:
            _read_last_position(model)
        elif _worst(expected, _in_one_batch(model, tokens, texts)) <= TOLERANCE:
            return True
        worst = _worst(expected, _rows(model, tokens, texts))
    if worst <= TOLERANCE:
        return False
    raise ConfigError(
        f"{spec.name}: its answers here would not be transformers' own (a probability differs by "
        f"{worst:.2g}): {type(model).__name__} reads more than token ids, which finsent-batch "
        "does not give it; name another model"
    )


def padding_token(model: Any) -> int | None:
    """Return the id that a model's configuration has for padding."""
    found: int | None = getattr(model.config.get_text_config(), "pad_token_id", None)
    return found


def _read_last_position(model: Any) -> None:
    """Let a decoder read each row's last position, as it does a row alone that has no padding.

    Without a padding token it refuses batches; with one that no text can have it takes them.
    """
    model.config.get_text_config().pad_token_id = -1


def _check_vocabulary(spec: ModelSpec, model: Any, tokens: TextTokens) -> None:
    try:
        rows = model.get_input_embeddings().num_embeddings
    except (NotImplementedError, AttributeError):
        return  # its embeddings are no table of tokens
    added = set(tokens.whole.added_tokens_decoder)
    largest = max((i for i in tokens.whole.get_vocab().values() if i not in added), default=0)
    if largest >= rows:
        raise ConfigError(
            f"{spec.name}: its tokenizer has {largest + 1} tokens, the model embeddings for "
            f"{rows}: the tokenizer is another model's; restore its files"
        )


def _fit_positions(spec: ModelSpec, model: Any, tokens: TextTokens) -> None:
    """Cut texts at what the model's table of positions holds, where it has one."""
    for name, module in model.named_modules():
        # I-BERT's table of positions is no torch.nn.Embedding, but has its weight.
        table = getattr(module, "weight", None)
        if table is not None and table.dim() == 2 and "position" in name.rpartition(".")[2]:
            # RoBERTa and its kin count positions from behind the padding token.
            padding = getattr(module, "padding_idx", None)
            there = table.shape[0] - (0 if padding is None else padding + 1)
            if 0 < there < tokens.max_length and "relative" not in name:
                logger.warning(
                    "%s reads %d tokens, fewer than its files say: longer headlines are cut",
                    spec.name,
                    there,
                )
                tokens.cut_at(there)


def _long_text(tokens: TextTokens) -> str:
    """Return a text that is cut, of words among the probes."""
    return " ".join(PROBES * (tokens.max_length // 8 + 1))


@torch.inference_mode()
def _one_by_one(model: Any, tokens: TextTokens, texts: list[str]) -> FloatArray:
    found = []
    for text in texts:
        given = tokens.whole(
            text, return_tensors="pt", truncation=True, max_length=tokens.max_length
        )
        found.append(model(**given.to(model.device)).logits)
    return _probabilities(found)


@torch.inference_mode()
def _in_one_batch(model: Any, tokens: TextTokens, texts: list[str]) -> FloatArray:
    ids, mask = (
        torch.from_numpy(part).to(model.device)
        for part in pad(tokens.encode(texts).rows(), padding_token(model) or 0)
    )
    return _probabilities([model(input_ids=ids, attention_mask=mask).logits])


@torch.inference_mode()
def _rows(model: Any, tokens: TextTokens, texts: list[str]) -> FloatArray:
    """Run each text twice in a batch of its own length."""
    found = []
    for row in tokens.encode(texts).rows():
        ids = torch.tensor([row, row], device=model.device)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        found.append(logits[1:])
    return _probabilities(found)


def _probabilities(logits: list[torch.Tensor]) -> FloatArray:
    result: FloatArray = torch.cat(logits).float().softmax(-1).cpu().numpy()
    return result


def _worst(one: FloatArray, other: FloatArray) -> float:
    """Return the largest difference; what is NaN in both is none."""
    apart = np.abs(np.nan_to_num(one) - np.nan_to_num(other))
    return float(apart.max())
