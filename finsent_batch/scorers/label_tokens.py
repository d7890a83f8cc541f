"""Scoring with a causal model: which label's first token follows the prompt.

One forward pass a headline, no text generated: the probabilities are a softmax
over the three label tokens' logits, calibrated by a temperature.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ..errors import UnavailableError
from ..models.spec import ModelSpec
from . import FloatArray, IntArray, ScoredBatch, Tokenised
from .batching import length_sorted_batches
from .causal import compute_dtype, load_causal
from .decoders import make_decoder
from .prompt_tokens import load_prompt_tokens

logger = logging.getLogger(__name__)

DEFAULT_MAX_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Measured by benchmarks/llama_throughput.py: larger batches gain little and cost memory."""


class LabelTokenScorer:
    """A causal model with its adapter folded in, batches sorted by length.

    `packed` is for comparisons: None takes the fastest way that the architecture allows.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        device: str,
        weights: str,
        max_batch_tokens: int | None = None,
        packed: bool | None = None,
    ) -> None:
        self.device = device
        self.weights = weights
        self._tokens = load_prompt_tokens(spec)
        self._dtype = compute_dtype(device, weights)
        self._budget = max_batch_tokens or DEFAULT_MAX_BATCH_TOKENS[device]
        self._temperature = spec.temperature
        model = load_causal(spec, device=device, weights=weights)
        self._decoder = make_decoder(model, self._tokens, packed=packed)
        self.path = self._decoder.name

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
        """Score what `tokenise` gave.

        A batch that does not fit into memory is cut in half, and later ones with it.
        """
        ids = tokenised.ids
        sizes = [self._decoder.size(row) for row in ids]
        waiting = deque(length_sorted_batches(sizes, self._budget))
        while waiting:
            batch = waiting.popleft()
            probabilities = self._within_memory([ids[i] for i in batch])
            if probabilities is None:
                self._halve_budget([sizes[i] for i in batch])
                rest = np.concatenate([batch, *waiting])
                waiting = deque(
                    rest[b] for b in length_sorted_batches([sizes[i] for i in rest], self._budget)
                )
                continue
            yield ScoredBatch(
                positions=batch,
                probabilities=probabilities,
                truncated=tokenised.truncated[batch],
                tokens=int(sum(sizes[i] for i in batch)),
            )

    def _within_memory(self, rows: list[list[int]]) -> FloatArray | None:
        """Return `_probabilities`, or None if they take more memory than there is.

        The error ends here: its traceback would keep the batch's tensors alive.
        """
        try:
            return self._probabilities(rows)
        except torch.OutOfMemoryError:
            return None

    def _halve_budget(self, tried: list[int]) -> None:
        if len(tried) == 1:
            raise UnavailableError(
                f"one headline of {tried[0]} tokens does not fit into the memory of {self.device} "
                "beside the model: use --weights nf4, or a GPU with more memory"
            )
        self._budget = max(1, min(self._budget, sum(tried)) // 2)
        logger.warning(
            "out of memory: going on with batches of %d tokens (--max-batch-tokens)", self._budget
        )
        if self.device == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _probabilities(self, rows: list[list[int]]) -> FloatArray:
        """Return calibrated probabilities, (n, 3); a text without finite logits alone in fp32."""
        logits = self._decoder.logits(rows, self._dtype).cpu()
        for i in _not_finite(logits):
            logits[i] = self._decoder.logits([rows[i]], torch.float32).cpu()[0]
        logits[_not_finite(logits)] = torch.nan  # minus infinity alone would give numbers
        result: FloatArray = (logits / self._temperature).softmax(-1).numpy()
        return result


def _not_finite(logits: torch.Tensor) -> IntArray:
    found: IntArray = (~logits.isfinite().all(dim=1)).nonzero()[:, 0].numpy()
    return found
