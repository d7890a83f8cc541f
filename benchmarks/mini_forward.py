"""Where the time of `mini`'s forward pass on a CPU goes, and what other ways of it take.

    python benchmarks/mini_forward.py ../shared/data

CPU time a token on one thread, in the scorer's own batches of real headlines. Ways take turns on
each batch, and of each the least of `--rounds` counts, so that a busy machine can be used. Beside
the scorer's int8 form: its products alone, which nothing but fewer or faster products gets below;
fixed scales (`int8_fixed.py`), with their attention and with torch's; and the same by OpenVINO, if
it is installed. Labels, on the headlines and on every fifth sentence of PhraseBank, are held
against fp32's; near-ties are not looked at again.
"""

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from int8_fixed import FixedInt8Bert
from int8_ranges import Ranges, find_ranges
from report import emit
from torch.nn import functional

from finsent_batch.hardware import cpu_flags
from finsent_batch.headlines import normalize
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.batching import TokenBudget, chosen_batches
from finsent_batch.scorers.encoder.int8_bert import Int8Bert
from finsent_batch.scorers.encoder.plain_weights import load_plain_bert
from finsent_batch.scorers.encoder.scorer import DEFAULT_MAX_BATCH_TOKENS, EncoderScorer
from finsent_batch.scorers.near_tie import probe_headlines

Way = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def batches(scorer: EncoderScorer, texts: list[str], tokens: int) -> list[Any]:
    """Return ids and mask of each batch, as the scorer makes them."""
    tokenized = scorer.tokenize(texts)
    found = chosen_batches(np.arange(len(texts)), tokenized.sizes, TokenBudget(tokens, "cpu"))
    made = [tokenized.padded(batch, scorer._padding) for batch in found]
    return [tuple(torch.from_numpy(part) for part in pair) for pair in made]


def products_alone(model: Any) -> Way:
    """Return the int8 products of a batch, and nothing between them."""
    shape = model.shape
    size, inner = shape.hidden_size, shape.intermediate_size
    shapes = [(size, 3 * size), (size, size), (size, inner), (inner, size)]
    weights = [torch.randint(-127, 128, (m, k), dtype=torch.int8).t() for k, m in shapes]

    def run(ids: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        rows = ids.numel()
        for _layer in range(shape.num_hidden_layers):
            for (k, m), weight in zip(shapes, weights, strict=True):
                torch._int_mm(inputs[k][:rows], weight, out=outputs[m][:rows])
        return torch.zeros(len(ids), 3)

    largest = 4096
    inputs = {k: torch.randint(-127, 128, (largest, k), dtype=torch.int8) for k, _ in shapes}
    outputs = {m: torch.empty((largest, m), dtype=torch.int32) for _, m in shapes}
    return run


class _TorchAttention(FixedInt8Bert):
    def _attend(
        self, qkv: torch.Tensor, count: int, tokens: int, bias: torch.Tensor | None
    ) -> torch.Tensor:
        q, k, v = qkv.view(count, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        return mixed.transpose(1, 2).reshape(count * tokens, -1)


def with_openvino(model: Any, ranges: Ranges, example: Any) -> Way | None:
    """Return the model with fixed scales by OpenVINO on one thread; None without it."""
    try:
        import openvino
    except ImportError:
        return None
    from int8_openvino import quantized

    module = quantized(copy.deepcopy(model), ranges)
    converted = openvino.convert_model(module, example_input=example)
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(converted, "CPU", settings).create_infer_request()
    return lambda ids, mask: torch.from_numpy(
        request.infer([ids.numpy(), mask.numpy()], share_inputs=True)[0].copy()
    )


def ways(model: Any, ranges: Ranges, example: Any) -> dict[str, Way]:
    """Return what to compare; the first is what the others are held against."""
    found: dict[str, Way | None] = {
        "a scale for each token": Int8Bert(model),
        "products alone": products_alone(model),
    }
    if "avx512_vnni" in cpu_flags():
        found["fixed scales"] = FixedInt8Bert(model, ranges)
        found["fixed scales, torch's attention"] = _TorchAttention(model, ranges)
    found["fixed scales, OpenVINO"] = with_openvino(model, ranges, example)
    return {name: way for name, way in found.items() if way is not None}


def measure(found: dict[str, Way], work: list[Any], rounds: int) -> dict[str, float]:
    """Return the CPU seconds that each way takes for all batches."""
    seconds = dict.fromkeys(found, 0.0)
    for ids, mask in work:
        least = dict.fromkeys(found, float("inf"))
        for way in found.values():
            way(ids, mask)  # makes buffers and kernels
        for _ in range(rounds):
            for name, way in found.items():
                begun = time.process_time()
                way(ids, mask)
                least[name] = min(least[name], time.process_time() - begun)
        for name in found:
            seconds[name] += least[name]
    return seconds


def answers(way: Way, work: list[Any]) -> torch.Tensor:
    """Return the labels of all batches' texts, (n,)."""
    with torch.inference_mode():
        return torch.cat([way(*batch).argmax(1) for batch in work])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frame = pl.read_parquet(arguments.data / "feeds" / "nightly" / "*.parquet")
    texts = normalize(frame["headline"].unique(maintain_order=True)[: arguments.sample].to_list())
    bank = (arguments.data / "phrasebank" / "Sentences_50Agree.txt").read_text("latin1")
    sentences = [line.rpartition("@")[0] for line in bank.splitlines()[::5]]
    spec = open_model(arguments.model)
    model = load_plain_bert(spec)
    assert model is not None, "this model needs transformers to load"
    scorer = EncoderScorer(spec, device="cpu", weights="fp32")
    tokens = DEFAULT_MAX_BATCH_TOKENS["cpu"]
    work = batches(scorer, texts, tokens)
    bank_work = batches(scorer, normalize(sentences), tokens)
    ranges = find_ranges(model, batches(scorer, probe_headlines(), tokens))
    found = ways(model, ranges, work[0])
    seconds = measure(found, work, arguments.rounds)
    first = next(iter(found))
    read = sum(ids.numel() for ids, _ in work)
    full = [answers(model, part) for part in (work, bank_work)]
    rows = []
    for name, way in found.items():
        kept = [float("nan")] * 2
        if "alone" not in name:
            given = [answers(way, part) for part in (work, bank_work)]
            pairs = zip(given, full, strict=True)
            kept = [100 * float((a == b).float().mean()) for a, b in pairs]
        rows.append([name, 1e6 * seconds[name] / read, seconds[first] / seconds[name], *kept])
    emit(
        "mini_forward",
        ["way", "CPU µs/token", "× the first", "% labels, news", "% labels, PhraseBank"],
        rows,
        headlines=len(texts),
        tokens=read,
        sentences=len(sentences),
    )


if __name__ == "__main__":
    main()
