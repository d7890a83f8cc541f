"""The 4-bit Llama scorer against the tutorial's way and padded transformers, in one run.

    python benchmarks/llama_throughput.py ../shared/data --checkpoint /tmp/llama

Makes the Llama-2-7B-shaped checkpoint with random weights if it is not there,
measures the GEMM ceiling for seconds on this model's four products, then every
way on the PhraseBank headlines. `llama_feed.py` measures the whole command.
`--tiny` checks the script on a CPU.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from llama_checkpoint import SHAPE_7B, SHAPE_TINY, make_adapter, make_base
from report import emit
from transformers import AutoModelForCausalLM, AutoTokenizer

from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.headlines import normalize
from finsent_batch.models.directory import open_model
from finsent_batch.models.prompts import DEFAULT_PROMPT
from finsent_batch.models.spec import ModelSpec
from finsent_batch.pipeline.score import score
from finsent_batch.scorers.causal.load import load_base
from finsent_batch.scorers.causal.scorer import LabelTokenScorer

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
COMPUTE = torch.bfloat16 if CUDA else torch.float32
CEILING_TOKENS = 16_384 if CUDA else 512


def sync() -> None:
    if CUDA:
        torch.cuda.synchronize()


def gemm_ceiling(shape: dict[str, int], seconds: float, dtype: torch.dtype, tokens: int) -> float:
    """Return sustained TFLOP/s over a layer's fused QKV, output, gate-up and down products."""
    h, f = shape["hidden_size"], shape["intermediate_size"]
    kv = h * shape["num_key_value_heads"] // shape["num_attention_heads"]
    products: list[Callable[[], Any]] = []
    flops = 0
    for inputs, outputs in ((h, h + 2 * kv), (h, h), (h, 2 * f), (f, h)):
        x = torch.randn(tokens, inputs, device=DEVICE)
        w = torch.randn(outputs, inputs, device=DEVICE)
        flops += 2 * tokens * inputs * outputs
        if dtype == torch.float8_e4m3fn:
            a, b = x.to(dtype), w.to(dtype).t()
            scale_a = torch.ones(tokens, 1, device=DEVICE)
            scale_b = torch.ones(1, outputs, device=DEVICE)
            products.append(
                lambda a=a, b=b, s=scale_a, t=scale_b: torch._scaled_mm(
                    a, b, scale_a=s, scale_b=t, out_dtype=torch.bfloat16, use_fast_accum=True
                )
            )
        else:
            a, b = x.to(dtype), w.to(dtype).t()
            products.append(lambda a=a, b=b: a @ b)
    rounds, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for _ in range(4 if CUDA else 1):
            for product in products:
                product()
            rounds += 1
        sync()
    return rounds * flops / (time.perf_counter() - begun) / 1e12


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Return headlines/s and the peak GPU memory in GB of `work`, which returns headlines."""
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    sync()
    begun = time.perf_counter()
    done = work()
    sync()
    rate = done / (time.perf_counter() - begun)
    return rate, torch.cuda.max_memory_allocated() / 1e9 if CUDA else 0.0


def tutorial(base: Path, texts: list[str]) -> tuple[float, float]:
    """One headline at a time, one token generated, as the notebook does it."""
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    model = load_base(base, nf4=True, device=DEVICE, compute=COMPUTE)

    def work(texts: list[str] = texts) -> int:
        for text in texts:
            inputs = tokenizer(DEFAULT_PROMPT.ask(text), return_tensors="pt").to(DEVICE)
            model.generate(**inputs, max_new_tokens=1, do_sample=False, pad_token_id=0)
        return len(texts)

    work(texts[:8])  # the first call loads kernels
    return timed(work)


@torch.inference_mode()
def padded(base: Path, texts: list[str], size: int) -> tuple[float, float]:
    """Sorted by length, right-padded, last position only; transformers' dense model."""
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=COMPUTE).to(DEVICE).eval()
    ids = [tokenizer(DEFAULT_PROMPT.ask(text))["input_ids"] for text in texts]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))

    def work(last: int = len(order)) -> int:
        for start in range(0, last, size):
            rows = [ids[i] for i in order[start : start + size]]
            longest = len(rows[0])
            batch = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
            states = model.model(batch.to(DEVICE), attention_mask=mask.to(DEVICE), use_cache=False)[
                0
            ]
            last = states[torch.arange(len(rows)), mask.sum(1).to(DEVICE) - 1]
            (last @ model.lm_head.weight.t()).argmax(-1).cpu()
        return len(ids)

    work(size)  # the longest, once
    return timed(work)


def ours(spec: ModelSpec, texts: list[str], weights: str, budget: int | None) -> dict[str, float]:
    """Measure the engine alone, tokenizing apart, after all of it once to warm up."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
    scorer = LabelTokenScorer(spec, device=DEVICE, weights=weights, max_batch_tokens=budget)
    tokenized = scorer.tokenize(texts)
    tokens = 0

    def work() -> int:
        nonlocal tokens
        tokens = sum(batch.tokens for batch in scorer.score_tokenized(tokenized))
        return len(texts)

    work()
    rate, peak = timed(work)
    return {"rate": rate, "tokens": tokens, "peak": peak}


def whole_command(model: Path, feed: Path, weights: str, rows: int) -> tuple[float, int]:
    """Return headlines/s of `score` on a file, loading the model apart, and the headlines."""
    with tempfile.TemporaryDirectory() as scratch:
        summary = score(
            ScoreConfig(
                input=str(feed),
                output=Path(scratch) / "out.parquet",
                limit=rows,
                model=ModelConfig(model=str(model), weights=weights),
                store=StoreConfig(path=Path(scratch) / "store.duckdb"),
            )
        )
    done = summary.rows["unique_scored"]
    return done / (summary.seconds["total"] - summary.seconds["load_model"]), done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with phrasebank/ and llama2_tokenizer/")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--ceiling-seconds", type=float, default=4.0)
    parser.add_argument("--budgets", type=int, nargs="*", default=[None])
    parser.add_argument("--weights", nargs="*", default=None)
    given = parser.parse_args()
    shape = SHAPE_TINY if given.tiny else SHAPE_7B
    base = make_base(given.checkpoint / "base", given.data / "llama2_tokenizer", shape)
    adapter = make_adapter(given.checkpoint / "adapter", base)
    lines = (given.data / "phrasebank/Sentences_50Agree.txt").read_text("latin-1").splitlines()
    texts = normalize([line.rpartition("@")[0] for line in lines])
    if given.tiny:
        texts = texts[:256]
    rows: list[list[Any]] = []
    kinds = given.weights or (["nf4", "bf16", "fp8"] if CUDA else ["nf4", "bf16"])
    slow, peak = tutorial(base, texts[: 256 if CUDA else 16])
    rows.append(["tutorial: generate, one by one", "nf4", "no", slow, 1.0, None, None, None, peak])
    for size in (32, 128):
        rate, peak = padded(base, texts, size)
        rows.append([f"transformers, padded, {size}", "bf16", "no", rate, rate / slow, None, None,
                     None, peak])  # fmt: skip
    config = open_model(str(base)).config
    ceilings: dict[str, float] = {}
    for weights in kinds:
        for with_adapter in (False, True):
            spec = open_model(str(adapter))
            if not with_adapter:
                spec = replace(spec, adapter=None)
            for budget in given.budgets:
                found = ours(spec, texts, weights, budget)
                operations = _operations(config, int(found["tokens"]), len(texts))
                speed = operations * found["rate"] / len(texts) / 1e12
                dtype = torch.float8_e4m3fn if CUDA and weights == "fp8" else COMPUTE
                tokens = budget or CEILING_TOKENS
                name = f"{dtype}, {tokens} tokens"
                if name not in ceilings:
                    ceilings[name] = gemm_ceiling(shape, given.ceiling_seconds, dtype, tokens)
                ceiling = ceilings[name]
                rows.append(
                    [f"finsent-batch, {budget or 'default'} tokens a batch", weights,
                     "yes" if with_adapter else "no", found["rate"], found["rate"] / slow,
                     found["rate"] * found["tokens"] / len(texts), speed, speed / ceiling,
                     found["peak"]]
                )  # fmt: skip
    columns = ["way", "weights", "adapter", "headlines/s", "x tutorial", "tokens/s", "TFLOP/s",
               "of ceiling", "peak GB"]  # fmt: skip
    emit("llama_throughput", columns, rows, ceilings=ceilings, device=_device())


def _operations(config: dict[str, Any], tokens: int, headlines: int) -> float:
    """Return the floating-point operations of the decoder's products for so many tokens.

    The last layer's queries, output and SwiGLU are computed for each headline's last
    token alone.
    """
    h, f = config["hidden_size"], config["intermediate_size"]
    parameters = sum(p.numel() for p in _shapes(config)) - 2 * config["vocab_size"] * h
    return 2.0 * (parameters * tokens - (2 * h * h + 3 * h * f) * (tokens - headlines))


def _shapes(config: dict[str, Any]) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        return list(LlamaForCausalLM(LlamaConfig(**config)).parameters())


def _device() -> str:
    return torch.cuda.get_device_name() if CUDA else "cpu"


if __name__ == "__main__":
    main()
