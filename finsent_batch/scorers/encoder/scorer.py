"""Scoring with a sequence classifier: any encoder of transformers with three labels.

On a CPU each core runs batches of its own on one thread: such models are too
small for several cores to share one product well.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from ...arrays import FloatArray, IntArray
from ...errors import ConfigError
from ...hardware import available_cores
from ...models.base_weights import FROM_DISK
from ...models.spec import ModelSpec
from ..base import ScoredBatch, Tokenised
from ..batching import (
    NEAR_TIE,
    TokenBudget,
    batches_within_memory,
    chosen_batches,
    pad,
    score_with_fallback,
)
from .int8_bert import Int8Bert
from .model import load_classifier

DEFAULT_MAX_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}
"""Measured by benchmarks/mini_throughput.py --budgets."""

Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class EncoderScorer:
    """A sequence classifier with its adapter folded in, batches sorted by length."""

    def __init__(
        self, spec: ModelSpec, *, device: str, weights: str, max_batch_tokens: int | None = None
    ) -> None:
        self.device = device
        self.weights = weights
        self.path = "padded, near-ties again in fp32" if weights == "int8" else "padded"
        self._budget = TokenBudget(max_batch_tokens or DEFAULT_MAX_BATCH_TOKENS[device], device)
        self._tokenizer = load_tokenizer(spec)
        dtype = torch.bfloat16 if weights == "bf16" else torch.float32
        model = load_classifier(spec, dtype=dtype).to(device)
        self._padding = model.config.pad_token_id or 0
        self._order = list(spec.label_order)
        self._temperature = spec.temperature
        self._full: Forward = partial(_plain_forward, model)
        self._fast: Forward = Int8Bert(model) if weights == "int8" else self._full

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return the tokens that scoring `texts` would read, padding apart."""
        return sum(len(e.ids) for e in self._tokenizer.encode_batch_fast(list(texts)))

    def score(self, texts: Sequence[str]) -> Iterator[ScoredBatch]:
        """Score texts, longest first; see `Scorer.score`."""
        yield from self.score_tokenised(self.tokenise(texts))

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        """Return the texts as ids; see `Scorer.tokenise`."""
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        cut = np.fromiter((bool(e.overflowing) for e in encoded), np.bool_, len(encoded))
        return Tokenised(ids=[e.ids for e in encoded], truncated=cut)

    def score_tokenised(self, tokenised: Tokenised) -> Iterator[ScoredBatch]:
        """Score what `tokenise` gave; int8 answers that are near-ties come last, from fp32."""
        sizes = [len(row) for row in tokenised.ids]
        fast = partial(self._run, self._fast, tokenised.ids, sizes)
        precise = partial(self._run, self._full, tokenised.ids, sizes)
        if self.weights == "int8":
            return score_with_fallback(tokenised, sizes, fast, precise, NEAR_TIE["int8"])
        return score_with_fallback(tokenised, sizes, fast, None, 0)

    def _run(
        self, forward: Forward, ids: list[list[int]], sizes: list[int], chosen: IntArray
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield positions and probabilities of the chosen texts, a batch at a time, in order."""
        launch = partial(self._launch, forward, ids)
        if self.device != "cpu":
            yield from batches_within_memory(
                chosen, sizes, self._budget, launch, _finish, remedy="use --device cpu"
            )
            return
        cores = available_cores()
        waiting: deque[tuple[IntArray, Future[torch.Tensor]]] = deque()
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for batch in chosen_batches(chosen, sizes, self._budget):
                waiting.append((batch, pool.submit(launch, batch)))
                if len(waiting) > 2 * cores:
                    done, future = waiting.popleft()
                    yield done, _finish(done, future.result())
            for done, future in waiting:
                yield done, _finish(done, future.result())

    @torch.inference_mode()
    def _launch(self, forward: Forward, ids: list[list[int]], batch: IntArray) -> torch.Tensor:
        """Return calibrated probabilities of the texts of a batch, (b, 3), on the device."""
        padded, mask = pad([ids[i] for i in batch], self._padding)
        logits = forward(
            torch.from_numpy(padded).to(self.device), torch.from_numpy(mask).to(self.device)
        )
        calibrated = logits.float()[:, self._order] / self._temperature
        return calibrated.softmax(-1)


def _finish(_: IntArray, probabilities: torch.Tensor) -> FloatArray:
    result: FloatArray = probabilities.cpu().numpy()
    return result


def _plain_forward(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits


def load_tokenizer(spec: ModelSpec) -> Tokenizer:
    """Return the model's fast tokenizer, truncating at its maximum length, padding nothing.

    Raises:
        ConfigError: there is none that can be loaded without running code of the model's.
    """
    file = spec.tokenizer / "tokenizer.json"
    try:
        if file.exists():
            tokenizer = Tokenizer.from_file(str(file))
        else:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer, **FROM_DISK).backend_tokenizer
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{spec.name}: its tokenizer cannot be loaded ({reason}): restore its tokenizer.json"
        ) from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.max_length)
    return tokenizer
