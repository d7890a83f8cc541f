"""How far labels agree between ways of running one causal adapter.

    python benchmarks/llama_quality.py ADAPTER ../shared/data/phrasebank/Sentences_50Agree.txt

Packed against transformers' padded forward, 4 bits on the GPU against the CPU,
fp8 against bf16, another batch size and order; on a CPU what a CPU can tell: fp8 is
computed there in the same arithmetic, slowly.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import emit

from finsent_batch.headlines import normalize
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.batching import lead
from finsent_batch.scorers.causal.scorer import LabelTokenScorer

MARGINS = (0.005, 0.01, 0.015, 0.02)


def answers(model: str, texts: list[str], device: str, weights: str, **how: Any) -> Any:
    """Return probabilities (n, 3) in the order of `texts`, scored in `how["order"]`."""
    order = how.pop("order", np.arange(len(texts)))
    scorer = LabelTokenScorer(open_model(model), device=device, weights=weights, **how)
    result = np.zeros((len(texts), 3), dtype=np.float32)
    for batch in scorer.score([texts[i] for i in order]):
        result[order[batch.positions]] = batch.probabilities
    return result


def compared(name: str, a: Any, b: Any) -> list[Any]:
    """Return how many labels are equal, and how near to ties those are that differ."""
    differ = a.argmax(1) != b.argmax(1)
    margins = np.maximum(lead(a), lead(b))[differ]
    largest = float(margins.max()) if differ.any() else 0.0
    over = [int((margins >= size).sum()) for size in MARGINS]
    return [name, len(a), 100 * (1 - float(differ.mean())), int(differ.sum()), *over, largest]


def main() -> None:
    model, file = sys.argv[1], Path(sys.argv[2])
    lines = file.read_text("latin-1").splitlines()
    texts = normalize([line.rpartition("@")[0] for line in lines])
    cpu = answers(model, texts, "cpu", "nf4", packed=False)
    if not torch.cuda.is_available():
        packed = answers(model, texts, "cpu", "nf4", packed=True)
        bf16 = answers(model, texts, "cpu", "bf16")
        alone = answers(model, texts, "cpu", "fp8", near_ties=False)
        rows = [
            compared("CPU, nf4: packed / padded", packed, cpu),
            compared("CPU: bf16 / nf4 in fp32", bf16, cpu),
            compared("CPU: fp8 alone / bf16", alone, bf16),
            compared("CPU: fp8 / bf16", answers(model, texts, "cpu", "fp8"), bf16),
        ]
    else:
        mixed = np.random.default_rng(0).permutation(len(texts))
        other = {"max_batch_tokens": 3000, "order": mixed}
        fp32 = answers(model, texts, "cuda", "fp32")
        bf16 = answers(model, texts, "cuda", "bf16", packed=True)
        padded = answers(model, texts, "cuda", "bf16", packed=False)
        nf4 = answers(model, texts, "cuda", "nf4")
        rows = [
            compared("fp32: packed / CPU, padded", fp32, cpu),
            compared("bf16: packed / padded", bf16, padded),
            compared("bf16 packed / fp32", bf16, fp32),
            compared("bf16 padded / fp32", padded, fp32),
            compared("nf4 packed / CPU, nf4 padded", nf4, cpu),
            compared("nf4 / bf16 dense", nf4, bf16),
            compared("fp8 alone / bf16", answers(model, texts, "cuda", "fp8", near_ties=False),
                     bf16),
            compared("fp8 / bf16", answers(model, texts, "cuda", "fp8"), bf16),
            compared("bf16: other batches and order",
                     answers(model, texts, "cuda", "bf16", **other), bf16),
        ]  # fmt: skip
    columns = ["comparison", "headlines", "equal %", "differing"]
    columns += [f"over {size}" for size in MARGINS] + ["largest margin"]
    emit("llama_quality", columns, rows)


if __name__ == "__main__":
    main()
