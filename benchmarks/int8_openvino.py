"""BERT with its products' inputs and weights rounded to 8 bits, for OpenVINO to fuse.

`fake_quantize_…` is what OpenVINO's converter knows as a product in int8. Ranges are
those of `int8_ranges.py`, with one zero for a place in place of one for each channel.
"""

from typing import Any

import torch
from int8_ranges import Ranges
from torch import nn
from torch.nn import functional


class _Rounded(nn.Module):
    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.scale = (high - low) / 255
        self.zero = round(-low / self.scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, 255)


class _Linear(nn.Module):
    def __init__(self, layer: nn.Linear, before: _Rounded) -> None:
        super().__init__()
        self.weight, self.bias, self.before = layer.weight, layer.bias, before
        self.register_buffer("scales", (layer.weight.abs().amax(1) / 127).clamp_min(1e-9))
        self.register_buffer("zeros", torch.zeros(len(layer.bias), dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, self.scales, self.zeros, 0, -127, 127
        )
        return functional.linear(self.before(x), weight, self.bias)


class _Masked(nn.Module):
    """A `PlainBert` that traces alike with and without padding."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        model = self.model
        bias = (1.0 - mask[:, None, None, :].float()) * -1e9
        x = model.bert.embeddings(ids)
        for layer in model.bert.encoder.layer:
            x = layer(x, bias)
        if model.bert.pooler is None:
            return model.classify(x, mask)
        return model.classifier(model.bert.pooler(x))


def quantized(model: Any, ranges: Ranges) -> nn.Module:
    """Return a module of (ids, mask) that computes a `PlainBert` in 8 bits; `model` is changed."""
    for number, layer in enumerate(model.bert.encoder.layer):
        own, found = layer.attention.self, ranges.found
        x, mixed, y = (
            _Rounded(
                float(found[f"{number}.{place}"].min()), float(found[f"{number}.{place}"].max())
            )
            for place in ("input", "mixed", "middle")
        )
        hidden = _Rounded(-0.17, ranges.hidden(number) * 255 - 0.17)
        own.query, own.key, own.value = (_Linear(p, x) for p in (own.query, own.key, own.value))
        layer.attention.output.dense = _Linear(layer.attention.output.dense, mixed)
        layer.intermediate.dense = _Linear(layer.intermediate.dense, y)
        layer.output.dense = _Linear(layer.output.dense, hidden)
    return _Masked(model).eval()
