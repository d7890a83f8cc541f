"""Score with a sequence classifier: any encoder of transformers with three labels.

On a CPU each core runs batches of its own on one thread: such models are too
small for several cores to share one product well.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch

from ...arrays import FloatArray, IntArray
from ...hardware import available_cores, gpu_memory
from ...models.spec import ModelSpec
from ..base import CHUNK, GPU_CHUNK, ScoredBatch, Tokenized
from ..batching import (
    TokenBudget,
    all_probabilities,
    batches_within_memory,
    chosen_batches,
    length_sorted_batches,
    score_with_fallback,
)
from ..near_tie import NEVER, measured_margin, packaged_margin, probe_headlines
from .int8_bert import Int8Bert
from .label_columns import LabelColumns
from .load import Forward, load_encoder, one_thread
from .packed_bert import PackedBert, PackedTexts
from .plain_bert import PlainBert
from .token_processes import TokenProcesses
from .tokens import PROBES

DEFAULT_MAX_BATCH_TOKENS = {"cpu": 512, "cuda": 65_536}
"""Measured by benchmarks/mini_throughput.py --budgets."""
_PACKED_TOKENS = 262_144
"""Of a packed batch, where memory is plenty: launching a smaller one takes longer than it runs."""
_PLENTY = 20e9


class EncoderScorer:
    """A sequence classifier with its adapter folded in, batches sorted by length.

    `near_tie` is the margin below which the answers of int8, or of bf16 on a GPU, are not sure,
    where it is known already; else it is measured, once the model is loaded. `expected` says how
    many texts there will be, where that is known: what many of them need starts while it loads.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        device: str,
        weights: str,
        max_batch_tokens: int | None = None,
        near_tie: float | None = None,
        expected: int = 0,
    ) -> None:
        self.device = device
        self.weights = weights
        self.chunk = GPU_CHUNK if device == "cuda" else CHUNK
        processes = TokenProcesses() if device == "cuda" else None
        if processes is not None:
            processes.start(expected)
        loaded = load_encoder(spec, device)
        self._tokens, self._padding = loaded.tokens, loaded.padding
        self._encode = loaded.tokens.encode
        if processes is not None:
            processes.use(loaded.tokens)
            self._encode = processes.encode
        self._paddable = loaded.paddable
        self._classes = LabelColumns(spec.label_classes)
        self._temperature = spec.temperature
        dtype = torch.bfloat16 if weights == "bf16" else torch.float32
        packed = device == "cuda" and isinstance(loaded.model, PlainBert)
        tokens = _PACKED_TOKENS if packed and gpu_memory() > _PLENTY else None
        tokens = max_batch_tokens or tokens or DEFAULT_MAX_BATCH_TOKENS[device]
        self._budget = TokenBudget(tokens, device)
        self._full = PackedBert(loaded.model, torch.float32) if packed else loaded.forward(dtype)
        self._fast: Forward | PackedBert = self._full
        if weights == "int8":
            with one_thread():
                self._fast = Int8Bert(loaded.model)
        elif weights == "bf16" and packed:
            self._fast = PackedBert(loaded.model, dtype)
        self.batching = _named(self._full, self._paddable)
        self.near_tie: float | None = None
        if self._fast is not self._full:
            self._take_margin(packaged_margin(spec, weights) if near_tie is None else near_tie)
        if packed:
            self._warm_up()

    def _warm_up(self) -> None:
        """Score a few texts, while processes start: a GPU's first batch loads what it needs."""
        probes = self._tokens.encode(PROBES)
        batch = next(length_sorted_batches(probes.sizes, int(probes.sizes.max()) * len(PROBES)))
        for forward in {self._fast, self._full}:
            assert isinstance(forward, PackedBert)
            with suppress(torch.OutOfMemoryError):  # who else had the memory may be gone soon
                self._launch(forward, forward.texts(probes, batch), batch)

    def _take_margin(self, near_tie: float | None) -> None:
        """Settle below which margin fast answers go to fp32: all of them where it is too wide."""
        if near_tie is None:
            probes = self.tokenize(probe_headlines())
            fast, full = (
                all_probabilities(partial(self._run, forward, probes), len(probes.sizes))
                for forward in (self._fast, self._full)
            )
            near_tie = measured_margin(fast, full)
        self.near_tie = near_tie
        if near_tie >= NEVER:
            self._fast = self._full
            self.batching += f", fp32: {self.weights} would change too many labels"
        else:
            self.batching += ", near-ties again in fp32"

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Return the tokens that scoring `texts` would read, padding apart."""
        return int(self._tokens.encode(texts).sizes.sum())

    def score(self, texts: Sequence[str]) -> Iterator[ScoredBatch]:
        """Score texts, longest first; see `Scorer.score`."""
        yield from self.score_tokenized(self.tokenize(texts))

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        """Return the texts as ids; see `Scorer.tokenize`."""
        return self._encode(texts)

    def score_tokenized(self, tokenized: Tokenized) -> Iterator[ScoredBatch]:
        """Score what `tokenize` gave; fast answers that are near-ties come last, from fp32."""
        fast = partial(self._run, self._fast, tokenized)
        if self._fast is self._full or self.near_tie is None:
            return score_with_fallback(tokenized, tokenized.sizes, fast, None, 0)
        precise = partial(self._run, self._full, tokenized)
        return score_with_fallback(tokenized, tokenized.sizes, fast, precise, self.near_tie)

    def _run(
        self, forward: Forward | PackedBert, tokenized: Tokenized, chosen: IntArray
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield positions and probabilities of the chosen texts, a batch at a time, in order."""
        texts: Tokenized | PackedTexts = tokenized
        if isinstance(forward, PackedBert):
            texts = forward.texts(tokenized, chosen)
        launch = partial(self._launch, forward, texts)
        if self.device != "cpu":
            yield from batches_within_memory(
                chosen, tokenized.sizes, self._budget, launch, _finish, remedy="use --device cpu"
            )
            return
        cores = available_cores()
        waiting: deque[tuple[IntArray, Future[torch.Tensor]]] = deque()
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for batch in chosen_batches(chosen, tokenized.sizes, self._budget):
                waiting.append((batch, pool.submit(launch, batch)))
                if len(waiting) > 2 * cores:
                    done, future = waiting.popleft()
                    yield done, _finish(done, future.result())
            for done, future in waiting:
                yield done, _finish(done, future.result())

    @torch.inference_mode()
    def _launch(
        self, forward: Any, texts: Tokenized | PackedTexts, batch: IntArray
    ) -> torch.Tensor:
        """Return calibrated probabilities of the texts of a batch, (b, 3), on the device."""
        if isinstance(texts, PackedTexts):
            logits = forward(texts, batch)
        else:
            parts = [batch] if self._paddable else _by_length(texts, batch)
            logits = torch.cat([self._logits(forward, texts, part) for part in parts])
        return self._classes(logits.float() / self._temperature)

    def _logits(self, forward: Forward, tokenized: Tokenized, batch: IntArray) -> torch.Tensor:
        ids, mask = tokenized.padded(batch, self._padding)
        return forward(
            torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)
        )


def _named(forward: Forward | PackedBert, paddable: bool) -> str:
    if isinstance(forward, PackedBert):
        return PackedBert.name
    return "padded" if paddable else "texts of one length together"


def _by_length(tokenized: Tokenized, batch: IntArray) -> list[IntArray]:
    """Cut a batch where the length changes: a text beside a longer one answers otherwise.

    Texts come longest first, so that those of one length are neighbours.
    """
    return np.split(batch, np.flatnonzero(np.diff(tokenized.sizes[batch])) + 1)


def _finish(_: IntArray, probabilities: torch.Tensor) -> FloatArray:
    result: FloatArray = probabilities.cpu().numpy()
    return result
