"""BERT in 8-bit integers with fixed scales, for `mini_forward.py`: faster and too coarse.

One scale for each place of the network (`int8_ranges.py`) in place of one for each token, so that
oneDNN's products, which come with torch, take and give numbers that are ready for the next one:

- y = x / s + z, with s for all channels and z for each, is what a LayerNorm gives if its weights
  are changed; being rounded to 0…255, it is a product's input without another pass.
- LayerNorm takes no notice of a scale or shift of its input, so that the sum before the next one
  stays in that form; what differs by channel goes into the product's bias.
- Softmax's weights sum to 1, so that scale and shift of the values are those of their mixture.
- GELU and the rounding to 8 bits that follows it run inside the product.

Inputs are unsigned: for signed ones oneDNN has no fast kernel with prepacked weights. Integers add
up exactly and nothing else looks beyond its own headline, so that neighbours change no answer but
by the rounding of attention's fp32.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from int8_ranges import Ranges
from torch.nn import functional

from finsent_batch.scorers.encoder.int8_bert import Int8Bert, _Buffers

_LARGEST = 255
_GELU_FLOOR = 0.17
# Softmax without its usual pass for the largest score: e^60 times 128 tokens is still an fp32.
_SCORE = 60.0


class Product:
    """x @ W.T + b for x = scale * (q - zero), q of 8 bits; then times `times`, plus `plus`.

    `zero` is a number for each input or for all, `times` and `plus` for each output or for all.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        scale: float,
        zero: torch.Tensor | float,
        times: torch.Tensor | float = 1.0,
        plus: torch.Tensor | float = 0.0,
    ) -> None:
        weight = torch.cat([layer.weight.detach() for layer in layers])
        bias = torch.cat([layer.bias.detach() for layer in layers])
        steps = (weight.abs().amax(1) / 127).clamp_min(1e-12)
        rounded = (weight / steps[:, None]).round_()
        self._scales = steps * scale * times
        # The last bit of this sum is far below a step of one input.
        zeros = rounded @ zero if isinstance(zero, torch.Tensor) else rounded.sum(1) * zero
        self._bias = (bias - scale * steps * zeros) * times + plus
        self._weight = torch.ops.onednn.qlinear_prepack(rounded.to(torch.int8), None)
        self._zeros = torch.zeros(len(bias), dtype=torch.int32)

    def __call__(self, q: torch.Tensor) -> torch.Tensor:
        """Return the product of q, (tokens, in) uint8, in fp32."""
        result: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            q, 1.0, 0, self._weight, self._scales, self._zeros, self._bias, 1.0, 0,
            torch.float32, "none", [], "",
        )  # fmt: skip
        return result

    def after_gelu(self, q: torch.Tensor, scale: float, zero: int) -> torch.Tensor:
        """Return GELU of the product as uint8: g = scale * (q - zero)."""
        result: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            q, 1.0, 0, self._weight, self._scales, self._zeros, self._bias, scale, zero,
            torch.uint8, "gelu", [], "none",
        )  # fmt: skip
        return result

    def onto(self, q: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return the product plus `other`, which is overwritten."""
        result: torch.Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            q, 1.0, 0, self._weight, self._scales, self._zeros, other, self._bias, 1.0, 0,
            torch.float32, 1.0, 0, "sum", 1.0, "none", [], "",
        )  # fmt: skip
        return result


class _Norm:
    """A LayerNorm of an input in steps of `unit`, whose result is ready to be cut to 0…255."""

    def __init__(self, norm: Any, unit: float, to: tuple[float, torch.Tensor] | None) -> None:
        self._weight, self._bias, self._shape = norm.weight, norm.bias, norm.normalized_shape
        if to is not None:  # half a step more: what follows rounds down
            self._weight = norm.weight / to[0]
            self._bias = norm.bias / to[0] + to[1] + 0.5
        self._eps = norm.eps / unit**2

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, self._shape, self._weight, self._bias, self._eps)


class _Layer:
    def __init__(
        self, layer: Any, ranges: Ranges, number: int, following: tuple[float, torch.Tensor] | None
    ) -> None:
        own, output = layer.attention.self, layer.attention.output
        x, x_zero = ranges.inputs(number)
        y, y_zero = ranges.middles(number)
        mixed, hidden = ranges.mixed(number), ranges.hidden(number)
        one, none = torch.ones(len(x_zero)), torch.zeros(len(x_zero))
        self.qkv = Product(
            [own.query, own.key, own.value], x, x_zero,
            torch.cat([one / math.sqrt(len(one) // own.num_attention_heads), one, one / mixed]),
            torch.cat([none, none, one * 128]),  # 127.5, and half a step as above
        )  # fmt: skip
        self.output = Product([output.dense], mixed, 127.5, 1 / x, -x_zero)
        self.output_norm = _Norm(output.LayerNorm, x, (y, y_zero))
        self.up = Product([layer.intermediate.dense], y, y_zero)
        self.gelu = hidden, round(_GELU_FLOOR / hidden)
        self.down = Product([layer.output.dense], *self.gelu, 1 / y, -y_zero)
        self.down_norm = _Norm(layer.output.LayerNorm, y, following)


class FixedInt8Bert(Int8Bert):
    """The int8 form of a `PlainBert` with known ranges, as fast as oneDNN's products allow."""

    def __init__(self, model: Any, ranges: Ranges) -> None:
        self._model = model
        self._buffers = _Buffers()
        layers = list(model.bert.encoder.layer)
        self._heads = layers[0].attention.self.num_attention_heads
        places = [ranges.inputs(i) for i in range(len(layers))]
        self._first = _Norm(model.bert.embeddings.LayerNorm, 1.0, places[0])
        following = [*places[1:], None]
        self._layers = [_Layer(layer, ranges, i, following[i]) for i, layer in enumerate(layers)]

    @torch.inference_mode()
    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 3), fp32, for ids and mask of shape (n, tokens), int64."""
        count, tokens = input_ids.shape
        own = self._model.bert.embeddings
        summed = own.word_embeddings(input_ids) + own.token_type_embeddings.weight[0]
        summed += own.position_embeddings.weight[:tokens]
        y = self._first(summed.view(count * tokens, -1))
        bias = None
        if not bool(attention_mask.all()):
            bias = torch.zeros(count, 1, 1, tokens)
            bias.masked_fill_(attention_mask[:, None, None, :] == 0, -math.inf)
        for layer in self._layers:
            mixed = self._attend(layer.qkv(self._rounded(y)), count, tokens, bias)
            y = layer.output_norm(layer.output.onto(self._rounded(mixed), y))
            hidden = layer.up.after_gelu(self._rounded(y), *layer.gelu)
            y = layer.down_norm(layer.down.onto(hidden, y))
        return self._head(y.view(count, tokens, -1), attention_mask)

    def _rounded(self, y: torch.Tensor) -> torch.Tensor:
        """Return y cut to 0…255 and rounded down, uint8."""
        names = (("cut", torch.float32), ("whole", torch.int32), ("8 bits", torch.uint8))
        rows, columns = y.shape
        cut, whole, q = (self._buffers.get(name, rows, columns, kind) for name, kind in names)
        return q.copy_(whole.copy_(torch.clamp(y, 0, _LARGEST, out=cut)))

    def _attend(
        self, qkv: torch.Tensor, count: int, tokens: int, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the mixed values: two batched products, faster than torch's for short rows."""
        parts = qkv.view(count, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        size, all_heads = parts.shape[-1], count * self._heads
        q, k, v = (
            self._buffers.get(name, all_heads * tokens, size, torch.float32)
            .view(parts[0].shape).copy_(part).view(all_heads, tokens, size)
            for name, part in zip("qkv", parts, strict=True)
        )  # fmt: skip
        scores = self._buffers.get("scores", all_heads * tokens, tokens, torch.float32)
        scores = scores.view(all_heads, tokens, tokens)
        torch.bmm(q, k.transpose(1, 2), out=scores).clamp_(-_SCORE, _SCORE)
        if bias is not None:
            scores.view(count, self._heads, tokens, tokens).add_(bias)
        total = scores.exp_().sum(-1, keepdim=True)
        # The queries' buffer is free again.
        mixed = torch.bmm(scores, v, out=q).div_(total)
        back = self._buffers.get("mixed", count * tokens, self._heads * size, torch.float32)
        back.view(count, tokens, self._heads, size).copy_(
            mixed.view(count, self._heads, tokens, size).transpose(1, 2)
        )
        return back
