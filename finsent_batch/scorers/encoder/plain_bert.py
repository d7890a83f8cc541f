"""BERT with a classifier on it, in torch alone: what transformers computes, without importing it.

transformers and peft take longer to import than a night of headlines takes to score. This is
their `BertForSequenceClassification` for inference, under the same names, so that weights and
the int8 form fit both; `plain_weights` says which models are this and no other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class BertShape:
    """The sizes of a BERT, by the names of `config.json`."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float


class _Linear(nn.Linear):
    """Without weights, which are loaded: drawing them takes longer, and imports the compiler."""

    def __init__(self, size: int, outputs: int) -> None:
        super().__init__(size, outputs, device="meta")

    def reset_parameters(self) -> None:
        pass


class _Embedding(nn.Embedding):
    def __init__(self, rows: int, size: int) -> None:
        super().__init__(rows, size, device="meta")

    def reset_parameters(self) -> None:
        pass


class PlainBert(nn.Module):
    """Ids and mask in, logits out; `pooled` reads the first token, else the mean of all.

    Made without weights; `load_state_dict(…, assign=True)` brings them.
    """

    def __init__(self, shape: BertShape, *, pooled: bool, labels: int) -> None:
        super().__init__()
        self.shape = shape
        self.bert = _Bert(shape, pooled=pooled)
        self.classifier = _Linear(shape.hidden_size, labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits (n, labels) for ids and mask of shape (n, tokens), int64."""
        mask = None
        if not bool(attention_mask.all()):
            mask = attention_mask[:, None, None, :].bool()
        states = self.bert.embeddings(input_ids)
        for layer in self.bert.encoder.layer:
            states = layer(states, mask)
        if self.bert.pooler is None:
            return self.classify(states, attention_mask)
        logits: torch.Tensor = self.classifier(self.bert.pooler(states))
        return logits

    def classify(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits (n, labels) of the mean of token states (n, tokens, hidden)."""
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp_min(1)
        logits: torch.Tensor = self.classifier(mean)
        return logits


class _Bert(nn.Module):
    def __init__(self, shape: BertShape, *, pooled: bool) -> None:
        super().__init__()
        self.embeddings = _Embeddings(shape)
        self.encoder = _Encoder(shape)
        self.pooler = _Pooler(shape.hidden_size) if pooled else None


class _Encoder(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(shape) for _ in range(shape.num_hidden_layers))


class _Embeddings(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        size = shape.hidden_size
        self.word_embeddings = _Embedding(shape.vocab_size, size)
        self.position_embeddings = _Embedding(shape.max_position_embeddings, size)
        self.token_type_embeddings = _Embedding(shape.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=shape.layer_norm_eps, device="meta")

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self._normed(input_ids, self.position_embeddings.weight[: input_ids.shape[1]])

    def packed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of ids at positions, both (tokens,), as (tokens, hidden)."""
        return self._normed(ids, self.position_embeddings(positions))

    def _normed(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        # In this order: sums of floats depend on it.
        summed = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        summed += places
        normed: torch.Tensor = self.LayerNorm(summed)
        return normed


class _Dense(nn.Module):
    """A linear layer; what is added to its result is normed with it."""

    def __init__(self, size: int, outputs: int, eps: float | None) -> None:
        super().__init__()
        self.dense = _Linear(size, outputs)
        if eps is not None:
            self.LayerNorm = nn.LayerNorm(outputs, eps=eps, device="meta")

    def forward(self, x: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.LayerNorm(self.dense(x) + before)
        return normed


class _SelfAttention(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.num_attention_heads = heads
        self.query = _Linear(size, size)
        self.key = _Linear(size, size)
        self.value = _Linear(size, size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        count, tokens, size = x.shape

        def heads(linear: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
            return linear(x).view(count, tokens, self.num_attention_heads, -1).transpose(1, 2)

        mixed = functional.scaled_dot_product_attention(
            heads(self.query), heads(self.key), heads(self.value), attn_mask=mask
        )
        return mixed.transpose(1, 2).reshape(count, tokens, size)


class _Attention(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        size = shape.hidden_size
        self.self = _SelfAttention(size, shape.num_attention_heads)
        self.output = _Dense(size, size, shape.layer_norm_eps)


class _Layer(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        size, inner = shape.hidden_size, shape.intermediate_size
        self.attention = _Attention(shape)
        self.intermediate = _Dense(size, inner, None)
        self.output = _Dense(inner, size, shape.layer_norm_eps)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return self.behind_attention(self.attention.self(x, mask), x)

    def behind_attention(self, mixed: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for its input `x` and what attention made of it."""
        x = self.attention.output(mixed, x)
        hidden: torch.Tensor = self.output(functional.gelu(self.intermediate.dense(x)), x)
        return hidden


class _Pooler(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.dense = _Linear(size, size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.of_first(states[:, 0])

    def of_first(self, first: torch.Tensor) -> torch.Tensor:
        """Return what stands for each text, (n, hidden), from its first token's states."""
        return torch.tanh(self.dense(first))
