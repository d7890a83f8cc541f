"""What range the numbers in a BERT have, place by place: the scales of `int8_fixed.py`."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional

_WIDER = 1.1
"""Ranges are taken so much wider than what was seen."""
_HIDDEN = 0.5
"""GELU's so much narrower: single tokens reach many times what all others do."""
_GELU_FLOOR = 0.17
_STEPS = 255


class Ranges:
    """The least and the largest value of each channel, by layer and place.

    The places are `input` of a layer, `mixed` by its attention, `middle` of it after the first
    norm, and `hidden` after GELU.
    """

    def __init__(self, found: dict[str, torch.Tensor]) -> None:
        self.found = found

    def inputs(self, layer: int) -> tuple[float, torch.Tensor]:
        """Return the scale s of a layer's input and the zero z of each channel: x = s (q - z)."""
        return self._centred(f"{layer}.input")

    def middles(self, layer: int) -> tuple[float, torch.Tensor]:
        """Return the same for what goes into the wide product."""
        return self._centred(f"{layer}.middle")

    def mixed(self, layer: int) -> float:
        """Return the scale of what attention gives; its zero is the middle."""
        return float(self.found[f"{layer}.mixed"].abs().max()) * _WIDER * 2 / _STEPS

    def hidden(self, layer: int) -> float:
        """Return the scale of what GELU gives, which begins a little below 0."""
        return (float(self.found[f"{layer}.hidden"].max()) * _HIDDEN + _GELU_FLOOR) / _STEPS

    def _centred(self, place: str) -> tuple[float, torch.Tensor]:
        low, high = self.found[place]
        scale = float((high - low).max()) * _WIDER / _STEPS
        return scale, _STEPS / 2 - (low + high) / 2 / scale


@torch.inference_mode()
def find_ranges(model: Any, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Ranges:
    """Return the ranges of a `PlainBert` in fp32, for ids and mask, (n, tokens), of each batch."""
    found: dict[str, torch.Tensor] = {}

    def note(place: str, x: torch.Tensor, kept: torch.Tensor) -> None:
        values = x.flatten(0, 1)[kept]
        low, high = values.amin(0), values.amax(0)
        if place in found:
            low = torch.minimum(low, found[place][0])
            high = torch.maximum(high, found[place][1])
        found[place] = torch.stack([low, high])

    for ids, mask in batches:
        kept = mask.bool().flatten()
        x = model.bert.embeddings(ids)
        for number, layer in enumerate(model.bert.encoder.layer):
            note(f"{number}.input", x, kept)
            mixed = layer.attention.self(x, mask[:, None, None, :].bool())
            note(f"{number}.mixed", mixed, kept)
            x = layer.attention.output(mixed, x)
            note(f"{number}.middle", x, kept)
            hidden = functional.gelu(layer.intermediate.dense(x))
            note(f"{number}.hidden", hidden.amax(-1, keepdim=True), kept)
            x = layer.output(hidden, x)
    return Ranges(found)
