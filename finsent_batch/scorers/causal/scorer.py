"""Scoring with a causal model: which label's first token follows the prompt.

One forward pass a headline, no text generated: the probabilities are a softmax
over the three label tokens' logits, calibrated by a temperature.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ...arrays import FloatArray, IntArray
from ...hardware import gpu_memory
from ...models.spec import ModelSpec
from ..base import ScoredBatch, Tokenised
from ..batching import NEAR_TIE, TokenBudget, length_sorted_batches, margin
from .decoders import Decoder, make_decoder
from .load import compute_dtype, load_causal
from .prompt_tokens import load_prompt_tokens

CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = ((60e9, 131_072), (20e9, 32_768), (0, 16_384))
"""By a GPU's memory in bytes, at least; measured by benchmarks/llama_throughput.py.

On an H200 in 4 bits 16,384 tokens reach 93 % of 131,072's headlines a second.
"""
_TOO_SMALL = "use --weights nf4, or a GPU with more memory"


class LabelTokenScorer:
    """A causal model with its adapter folded in, batches sorted by length.

    `packed` and `near_ties` are for comparisons: by default the fastest way that the
    architecture allows, and fp8's near-ties again in bf16.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        device: str,
        weights: str,
        max_batch_tokens: int | None = None,
        packed: bool | None = None,
        near_ties: bool = True,
    ) -> None:
        self.device = device
        self.weights = weights
        self._tokens = load_prompt_tokens(spec)
        self._dtype = compute_dtype(device, weights)
        self._budget = TokenBudget(max_batch_tokens or _default_budget(device), device)
        self._temperature = spec.temperature
        self._decoder = self._load(spec, weights, packed)
        self.path = self._decoder.name
        self._finer: Decoder | None = None
        if weights == "fp8" and near_ties:
            # From the weights that fp8 was rounded from; 4 bits of them where that is no loss.
            self._finer = self._load(spec, spec.quantisation or "bf16", packed)
            self.path += ", near-ties again in bf16"

    def _load(self, spec: ModelSpec, weights: str, packed: bool | None) -> Decoder:
        model = load_causal(spec, device=self.device, weights=weights)
        return make_decoder(model, self._tokens, packed=packed)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return the tokens that scoring `texts` would read, a shared prefix apart."""
        return sum(self._decoder.size(row) for row in self._tokens.encode(texts).ids)

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        """Return the texts' prompts as ids; see `Scorer.tokenise`."""
        return self._tokens.encode(texts)

    def score(self, texts: Sequence[str]) -> Iterator[ScoredBatch]:
        """Score texts, longest first; see `Scorer.score`."""
        yield from self.score_tokenised(self.tokenise(texts))

    def score_tokenised(self, tokenised: Tokenised) -> Iterator[ScoredBatch]:
        """Score what `tokenise` gave; fp8 answers that are near-ties come last, from bf16."""
        again: list[IntArray] = []
        everything = np.arange(len(tokenised.ids), dtype=np.int64)
        for batch, probabilities in self._run(self._decoder, tokenised.ids, everything):
            sure = np.ones(len(batch), dtype=np.bool_)
            if self._finer is not None:
                sure = margin(probabilities) >= NEAR_TIE[self.weights]
                again.append(batch[~sure])
            yield self._answer(batch[sure], probabilities[sure], tokenised)
        if self._finer is not None and again:
            near = np.concatenate(again)
            for batch, probabilities in self._run(self._finer, tokenised.ids, near):
                yield self._answer(batch, probabilities, tokenised)

    def _answer(
        self, batch: IntArray, probabilities: FloatArray, tokenised: Tokenised
    ) -> ScoredBatch:
        return ScoredBatch(
            positions=batch,
            probabilities=probabilities,
            truncated=tokenised.truncated[batch],
            tokens=sum(self._decoder.size(tokenised.ids[i]) for i in batch),
        )

    def _run(
        self, decoder: Decoder, ids: list[list[int]], chosen: IntArray
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield positions and probabilities of the chosen texts, a batch at a time, longest first.

        A batch that does not fit into memory is cut in half, and later ones with it.
        """
        sizes = {int(i): decoder.size(ids[i]) for i in chosen}
        waiting = self._batches(chosen, sizes)
        launched: deque[tuple[IntArray, list[list[int]], torch.Tensor]] = deque()
        while waiting or launched:
            if waiting:
                batch = waiting.popleft()
                rows = [ids[i] for i in batch]
                logits = self._within_memory(decoder, rows)
                if logits is None:
                    self._budget.halve([sizes[i] for i in batch], _TOO_SMALL)
                    waiting = self._batches(np.concatenate([batch, *waiting]), sizes)
                    continue
                launched.append((batch, rows, logits))
                if self.device == "cuda" and waiting and len(launched) < 2:
                    continue  # the GPU works on one batch while the next is prepared
            batch, rows, logits = launched.popleft()
            yield batch, self._probabilities(decoder, rows, logits)

    def _batches(self, chosen: IntArray, sizes: dict[int, int]) -> deque[IntArray]:
        lengths = [sizes[i] for i in chosen.tolist()]
        return deque(chosen[b] for b in length_sorted_batches(lengths, self._budget.tokens))

    @torch.inference_mode()
    def _within_memory(self, decoder: Decoder, rows: list[list[int]]) -> torch.Tensor | None:
        """Return the rows' logits, still on the device, or None if memory does not hold them.

        The error ends here: its traceback would keep the batch's tensors alive.
        """
        try:
            return decoder.logits(rows, self._dtype)
        except torch.OutOfMemoryError:
            return None

    @torch.inference_mode()
    def _probabilities(
        self, decoder: Decoder, rows: list[list[int]], logits: torch.Tensor
    ) -> FloatArray:
        """Return calibrated probabilities, (n, 3); a text without finite logits alone in fp32."""
        logits = logits.cpu()
        for i in _not_finite(logits):
            logits[i] = decoder.logits([rows[i]], torch.float32).cpu()[0]
        logits[_not_finite(logits)] = torch.nan  # minus infinity alone would give numbers
        result: FloatArray = (logits / self._temperature).softmax(-1).numpy()
        return result


def _default_budget(device: str) -> int:
    if device == "cpu":
        return CPU_BATCH_TOKENS
    return next(tokens for least, tokens in GPU_BATCH_TOKENS if gpu_memory() > least)


def _not_finite(logits: torch.Tensor) -> IntArray:
    found: IntArray = (~logits.isfinite().all(dim=1)).nonzero()[:, 0].numpy()
    return found
