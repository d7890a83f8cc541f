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
from ..hardware import gpu_memory
from ..models.spec import ModelSpec
from . import FloatArray, IntArray, ScoredBatch, Tokenised
from .batching import length_sorted_batches
from .causal import compute_dtype, load_causal
from .decoders import make_decoder
from .prompt_tokens import load_prompt_tokens

logger = logging.getLogger(__name__)

CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 32_768
SMALL_GPU_BATCH_TOKENS = 16_384
"""Measured by benchmarks/llama_throughput.py: half the tokens cost 4 % of the speed in 4 bits."""
_SMALL_GPU = 20e9


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
        self._budget = max_batch_tokens or _default_budget(device)
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
        launched: deque[tuple[IntArray, list[list[int]], torch.Tensor]] = deque()
        while waiting or launched:
            if waiting:
                batch = waiting.popleft()
                rows = [ids[i] for i in batch]
                logits = self._within_memory(rows)
                if logits is None:
                    self._halve_budget([sizes[i] for i in batch])
                    rest = np.concatenate([batch, *waiting])
                    lengths = [sizes[i] for i in rest]
                    waiting = deque(rest[b] for b in length_sorted_batches(lengths, self._budget))
                    continue
                launched.append((batch, rows, logits))
                if self.device == "cuda" and waiting and len(launched) < 2:
                    continue  # the GPU works on one batch while the next is prepared
            batch, rows, logits = launched.popleft()
            yield ScoredBatch(
                positions=batch,
                probabilities=self._probabilities(rows, logits),
                truncated=tokenised.truncated[batch],
                tokens=int(sum(sizes[i] for i in batch)),
            )

    @torch.inference_mode()
    def _within_memory(self, rows: list[list[int]]) -> torch.Tensor | None:
        """Return the rows' logits, still on the device, or None if memory does not hold them.

        The error ends here: its traceback would keep the batch's tensors alive.
        """
        try:
            return self._decoder.logits(rows, self._dtype)
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
    def _probabilities(self, rows: list[list[int]], logits: torch.Tensor) -> FloatArray:
        """Return calibrated probabilities, (n, 3); a text without finite logits alone in fp32."""
        logits = logits.cpu()
        for i in _not_finite(logits):
            logits[i] = self._decoder.logits([rows[i]], torch.float32).cpu()[0]
        logits[_not_finite(logits)] = torch.nan  # minus infinity alone would give numbers
        result: FloatArray = (logits / self._temperature).softmax(-1).numpy()
        return result


def _default_budget(device: str) -> int:
    if device == "cpu":
        return CPU_BATCH_TOKENS
    return GPU_BATCH_TOKENS if gpu_memory() > _SMALL_GPU else SMALL_GPU_BATCH_TOKENS


def _not_finite(logits: torch.Tensor) -> IntArray:
    found: IntArray = (~logits.isfinite().all(dim=1)).nonzero()[:, 0].numpy()
    return found
