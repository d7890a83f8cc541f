"""Score with a causal model: which label's first token follows the prompt.

One forward pass a headline, no text generated: the probabilities are a softmax
over the three label tokens' logits, calibrated by a temperature.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import torch

from ...arrays import FloatArray, IntArray
from ...hardware import gpu_memory
from ...models.spec import ModelSpec
from ..base import CHUNK, ScoredBatch, Tokenized
from ..batching import (
    TokenBudget,
    all_probabilities,
    batches_within_memory,
    score_with_fallback,
)
from ..near_tie import NEVER, measured_lead, probe_headlines
from .choice import PackingDiffersError, make_decoder
from .decoders import Decoder
from .load import compute_dtype, load_causal_in
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
    architecture allows, and fp8's near-ties again in bf16. `near_tie` is the margin below which
    fp8's answers are not sure, where it is known already; else it is measured.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        device: str,
        weights: str,
        max_batch_tokens: int | None = None,
        near_tie: float | None = None,
        packed: bool | None = None,
        near_ties: bool = True,
    ) -> None:
        self.device = device
        self.weights = weights
        self.chunk = CHUNK
        self._tokens = load_prompt_tokens(spec)
        self._dtype = compute_dtype(device, weights)
        self._budget = TokenBudget(max_batch_tokens or _default_budget(device), device)
        self._temperature = spec.temperature
        ways = [weights]
        if weights == "fp8" and near_ties:
            # What fp8 was rounded from; 4 bits of it where that is no loss.
            finest = spec.quantisation or "bf16"
            ways = [finest] if near_tie is not None and near_tie >= NEVER else [weights, finest]
        loaded = self._load(spec, ways, packed)
        self._decoder = loaded[0]
        self.batching = self._decoder.name
        self.near_tie: float | None = None
        self._finer: Decoder | None = None
        if ways != [weights]:
            self._take_margin(loaded[-1], near_tie)

    def _load(self, spec: ModelSpec, ways: Sequence[str], packed: bool | None) -> list[Decoder]:
        with suppress(PackingDiffersError):
            return self._decoders(spec, ways, packed)
        return self._decoders(spec, ways, packed=False)

    def _decoders(self, spec: ModelSpec, ways: Sequence[str], packed: bool | None) -> list[Decoder]:
        models = load_causal_in(spec, device=self.device, ways=ways, compute=self._dtype)
        return [make_decoder(model, self._tokens, packed=packed) for model in models]

    def _take_margin(self, finer: Decoder, near_tie: float | None) -> None:
        """Settle below which margin fp8's answers go to `finer`: all of them where it is wide."""
        if near_tie is None:
            ids = self._tokens.encode(probe_headlines()).rows()
            sizes = self._sizes(ids)
            fast, full = (
                all_probabilities(partial(self._run, decoder, ids, sizes), len(ids))
                for decoder in (self._decoder, finer)
            )
            near_tie = measured_lead(fast, full)
        self.near_tie = near_tie
        if near_tie >= NEVER:
            self._decoder = finer
            self.batching += ", bf16: fp8 would change too many labels"
        else:
            self._finer = finer
            self.batching += ", near-ties again in bf16"

    def _sizes(self, ids: list[list[int]]) -> IntArray:
        return np.array([self._decoder.size(row) for row in ids], dtype=np.int64)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return the tokens that scoring `texts` would read, a shared prefix apart."""
        return sum(self._decoder.size(row) for row in self._tokens.encode(texts).rows())

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        """Return the texts' prompts as ids; see `Scorer.tokenize`."""
        return self._tokens.encode(texts)

    def score(self, texts: Sequence[str]) -> Iterator[ScoredBatch]:
        """Score texts, longest first; see `Scorer.score`."""
        yield from self.score_tokenized(self.tokenize(texts))

    def score_tokenized(self, tokenized: Tokenized) -> Iterator[ScoredBatch]:
        """Score what `tokenize` gave; fp8 answers that are near-ties come last, from bf16."""
        ids = tokenized.rows()
        sizes = self._sizes(ids)
        fast = partial(self._run, self._decoder, ids, sizes)
        if self._finer is None or self.near_tie is None:
            return score_with_fallback(tokenized, sizes, fast, None, 0)
        precise = partial(self._run, self._finer, ids, sizes)
        return score_with_fallback(tokenized, sizes, fast, precise, self.near_tie)

    def _run(
        self, decoder: Decoder, ids: list[list[int]], sizes: IntArray, chosen: IntArray
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield positions and probabilities of the chosen texts, a batch at a time."""

        @torch.inference_mode()
        def launch(batch: IntArray) -> torch.Tensor:
            return decoder.logits([ids[i] for i in batch], self._dtype)

        def finish(batch: IntArray, logits: torch.Tensor) -> FloatArray:
            return self._probabilities(decoder, [ids[i] for i in batch], logits)

        yield from batches_within_memory(
            chosen, sizes, self._budget, launch, finish, remedy=_TOO_SMALL
        )

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
