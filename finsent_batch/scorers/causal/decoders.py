"""One forward pass of a causal model: the logits of the label tokens after each prompt.

`PackedDecoder` runs texts end to end with the instruction's keys and values
computed once; `PaddedDecoder` is transformers' own forward on right-padded rows.
Both compare three rows of the output head, in fp32, at each prompt's last token.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import torch
from torch.nn import functional

from ...labels import LABELS
from ..batching import pad
from .layers import ACTIVATIONS, ScoringLayer
from .packed_attention import Packing, States

PACKABLE: Final = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""`model_type`s whose decoder is embedding, layers, norm, and nothing between them."""


class Decoder(Protocol):
    """Runs one batch of prompts."""

    name: str

    def logits(self, rows: Sequence[Sequence[int]], dtype: torch.dtype) -> torch.Tensor:
        """Return the label tokens' logits for prompts as ids, (n, 3) fp32."""
        ...

    def size(self, row: Sequence[int]) -> int:
        """Return the tokens that a prompt adds to a batch."""
        ...


class LabelHead:
    """The output head's rows of the label tokens, in fp32."""

    def __init__(self, model: Any, label_ids: Sequence[int]) -> None:
        head = model.get_output_embeddings()
        self.device: torch.device = head.weight.device
        rows = torch.tensor(label_ids, device=self.device)
        self._weight = head.weight[rows].float()
        bias = getattr(head, "bias", None)
        self._bias = None if bias is None else bias[rows].float()

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 3) fp32 of the last tokens' states (n, hidden)."""
        return functional.linear(states.float(), self._weight, self._bias)


class PaddedDecoder:
    """Right-padded rows through the model as transformers has it; for any architecture.

    With `own_head` the logits are the model's own, scaled or capped as it may be; else they
    are `LabelHead`'s, of the last tokens' states alone. Unless `mixed`, only rows of one
    length share a batch, for models that a row's padding reaches.
    """

    def __init__(
        self, model: Any, label_ids: Sequence[int], *, own_head: bool = False, mixed: bool = True
    ) -> None:
        self.name = "padded" if mixed else "texts of one length together"
        self._model = model
        self._labels = list(label_ids)
        self._head = None if own_head else LabelHead(model, label_ids)
        self._mixed = mixed
        self._takes = set(inspect.signature(model.forward).parameters)

    def size(self, row: Sequence[int]) -> int:
        return len(row)

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]], dtype: torch.dtype) -> torch.Tensor:
        with self._parameters_in(dtype):
            if self._mixed:
                return self._batch(rows)
            result = torch.empty(len(rows), len(LABELS), device=self._model.device)
            for length in {len(row) for row in rows}:
                chosen = [i for i, row in enumerate(rows) if len(row) == length]
                result[chosen] = self._batch([rows[i] for i in chosen])
            return result

    def _batch(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        ids, mask = (torch.from_numpy(x).to(self._model.device) for x in pad(rows, 0))
        last = mask.sum(1) - 1
        everyone = torch.arange(len(rows), device=ids.device)
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self._head is not None:
            states = self._model.base_model(**given, use_cache=False)[0]
            return self._head(states[everyone, last])
        if "use_cache" in self._takes:
            given["use_cache"] = False
        if "logits_to_keep" in self._takes:
            given["logits_to_keep"], last = torch.unique(last, return_inverse=True)
        logits = self._model(**given).logits
        if logits.shape[1] == ids.shape[1] and "logits_to_keep" in self._takes:
            last = mask.sum(1) - 1  # it took the argument and kept them all
        own: torch.Tensor = logits[everyone, last][:, self._labels].float()
        return own

    @contextmanager
    def _parameters_in(self, dtype: torch.dtype) -> Iterator[None]:
        """Cast what is no scoring layer, such as norms, for a while; the way back is exact."""
        whole = self._model if self._head is None else self._model.base_model
        before = {p: p.dtype for p in whole.parameters() if p.is_floating_point()}
        try:
            for parameter in before:
                parameter.data = parameter.data.to(dtype)
            yield
        finally:
            for parameter, own in before.items():
                parameter.data = parameter.data.to(own)


class PackedDecoder:
    """Texts packed end to end behind one shared prefix; for `PACKABLE` architectures."""

    name = "packed"

    def __init__(self, model: Any, label_ids: Sequence[int], prefix: Sequence[int]) -> None:
        self._body = model.base_model
        self._head = LabelHead(model, label_ids)
        self._prefix_ids = list(prefix)
        self._prefixes: dict[torch.dtype, dict[int, States]] = {}
        self._layers = [ScoringLayer(layer, model.config) for layer in self._body.layers]

    def size(self, row: Sequence[int]) -> int:
        return len(row) - len(self._prefix_ids) if self._shares(row) else len(row)

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]], dtype: torch.dtype) -> torch.Tensor:
        result = torch.empty(len(rows), len(LABELS), device=self._head.device)
        sharing = [self._shares(row) for row in rows]
        for shared in {True, False} & set(sharing):
            chosen = [i for i, found in enumerate(sharing) if found == shared]
            skipped = len(self._prefix_ids) if shared else 0
            packing = Packing(
                lengths=[len(rows[i]) - skipped for i in chosen],
                device=self._head.device,
                prefix=self._prefix(dtype) if shared else None,
            )
            states = self._run([t for i in chosen for t in rows[i][skipped:]], packing, dtype)
            result[chosen] = self._head(states)
        return result

    def _shares(self, row: Sequence[int]) -> bool:
        size = len(self._prefix_ids)
        return 0 < size < len(row) and list(row[:size]) == self._prefix_ids

    def _prefix(self, dtype: torch.dtype) -> dict[int, States]:
        """Return the keys and values of the instruction, computed on first use."""
        if dtype not in self._prefixes:
            kept: dict[int, States] = {}
            packing = Packing(lengths=[len(self._prefix_ids)], device=self._head.device, kept=kept)
            self._run(self._prefix_ids, packing, dtype)
            self._prefixes[dtype] = {
                i: (k.contiguous(), v.contiguous()) for i, (k, v) in kept.items()
            }
        return self._prefixes[dtype]

    def _run(self, ids: list[int], packing: Packing, dtype: torch.dtype) -> torch.Tensor:
        """Return the normed states of each text's last token, (n, hidden)."""
        tokens = torch.tensor(ids, device=packing.device)
        hidden = self._body.embed_tokens(tokens).to(dtype)
        cosine, sine = self._body.rotary_emb(hidden, packing.positions)
        states = hidden, torch.zeros_like(hidden)
        for layer in self._layers:
            # Only the last tokens go on: the last layer's MLP is for them alone.
            last = packing.last if layer is self._layers[-1] else None
            states = layer(states, packing, (cosine[0], sine[0]), last)
        normed: torch.Tensor = self._body.norm(states[0] + states[1])
        return normed


def packable(config: Any, longest: int) -> bool:
    """Return whether a model of this configuration runs packed on prompts of `longest` tokens.

    Packed attention sees all of a prompt; a sliding window as long hides nothing. Its
    kernels take heads whose size is a power of two.
    """
    if config.model_type not in PACKABLE or config.hidden_act not in ACTIVATIONS:
        return False
    window = getattr(config, "sliding_window", None) or longest
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return bool(window >= longest and head.bit_count() == 1)
