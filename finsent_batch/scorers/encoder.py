"""Scoring with a sequence classifier: BERT-like encoder, three labels, one forward pass."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from ..errors import ConfigError
from ..models.directory import ModelSpec
from . import ScoredBatch
from .batching import length_sorted_batches, pad

DEFAULT_MAX_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}


class EncoderScorer:
    """A sequence classifier with its adapter folded in, batches sorted by length."""

    path = "padded"

    def __init__(
        self, spec: ModelSpec, *, device: str, weights: str, max_batch_tokens: int | None
    ) -> None:
        self.device = device
        self.weights = weights
        self._spec = spec
        self._budget = max_batch_tokens or DEFAULT_MAX_BATCH_TOKENS[device]
        self._tokenizer = load_tokenizer(spec)
        self._model = load_classifier(spec, weights).to(device)
        self._order = list(spec.label_order)
        self._padding = self._model.config.pad_token_id or 0

    def count_tokens(self, texts: Sequence[str]) -> int:
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        return sum(len(e.ids) for e in encoded)

    def score(self, texts: Sequence[str]) -> Iterator[ScoredBatch]:
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        ids = [e.ids for e in encoded]
        cut = np.fromiter((bool(e.overflowing) for e in encoded), bool, len(encoded))
        for batch in length_sorted_batches([len(row) for row in ids], self._budget):
            rows = [ids[i] for i in batch]
            yield ScoredBatch(
                positions=batch,
                probabilities=self._probabilities(rows),
                truncated=cut[batch],
                tokens=sum(map(len, rows)),
            )

    @torch.inference_mode()
    def _probabilities(
        self, rows: Sequence[Sequence[int]]
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        ids, mask = pad(rows, self._padding)
        logits = self._model(
            input_ids=torch.from_numpy(ids).to(self.device),
            attention_mask=torch.from_numpy(mask).to(self.device),
        ).logits
        calibrated = logits.float()[:, self._order] / self._spec.temperature
        result: np.ndarray[Any, np.dtype[np.float32]] = calibrated.softmax(-1).cpu().numpy()
        return result


def load_tokenizer(spec: ModelSpec) -> Tokenizer:
    """Return the model's fast tokenizer, truncating at its maximum length, padding nothing."""
    file = spec.tokenizer / "tokenizer.json"
    if file.exists():
        tokenizer = Tokenizer.from_file(str(file))
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer).backend_tokenizer
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.max_length)
    return tokenizer


def load_classifier(spec: ModelSpec, weights: str = "fp32") -> Any:
    """Load base and adapter as one plain transformers model in evaluation mode.

    Raises:
        ConfigError: the adapter does not fit the base.
    """
    from transformers import AutoModelForSequenceClassification

    dtype = torch.bfloat16 if weights == "bf16" else torch.float32
    model = AutoModelForSequenceClassification.from_pretrained(
        spec.base, num_labels=3, use_safetensors=True, dtype=torch.float32, local_files_only=True
    )
    if spec.adapter is not None:
        from peft import PeftModel

        try:
            adapted = PeftModel.from_pretrained(model, str(spec.adapter), local_files_only=True)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{spec.name}: the adapter does not fit the base {spec.base_id}: "
                f"{str(error).splitlines()[0]}"
            ) from None
        model = adapted.merge_and_unload()
    return model.to(dtype).eval()
