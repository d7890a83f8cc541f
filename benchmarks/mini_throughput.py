"""The embedded model through `score` against `transformers.pipeline`: same weights, same cores.

    python benchmarks/mini_throughput.py ../shared/data

Ours is the whole command's work (plan, score, publish; fresh store) on the
folder of nightly files; the pipeline sees a sample of the same rows, in file
order, as a short script would run it. Rounds alternate; medians are reported.
`--budgets` measures the scorer alone at several batch sizes instead, and how far apart their
probabilities are.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from report import emit
from transformers import AutoTokenizer, pipeline

from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.headlines import normalize
from finsent_batch.models.directory import open_model
from finsent_batch.pipeline.score import score
from finsent_batch.scorers.encoder.model import load_classifier
from finsent_batch.scorers.encoder.scorer import EncoderScorer


def ours(folder: Path, model: str, weights: str) -> tuple[float, pl.DataFrame]:
    """Return rows/s of a `score` run without loading the model, and its labels."""
    with tempfile.TemporaryDirectory() as scratch:
        summary = score(
            ScoreConfig(
                input=str(folder),
                output=Path(scratch) / "out",
                model=ModelConfig(model=model, weights=weights),
                store=StoreConfig(path=Path(scratch) / "store.duckdb"),
            )
        )
        seconds = summary.seconds["total"] - summary.seconds["load_model"]
        labelled = pl.read_parquet(Path(scratch) / "out" / "*.parquet")
    return summary.rows["read"] / seconds, labelled.select("headline", "sentiment")


def make_pipeline(model: str) -> Any:
    """Return the pipeline over the very same weights."""
    spec = open_model(model)
    tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer, local_files_only=True)
    tokenizer.model_max_length = spec.max_length
    return pipeline("text-classification", model=load_classifier(spec), tokenizer=tokenizer)


def run_pipeline(classify: Any, texts: list[str], batch_size: int) -> tuple[float, list[str]]:
    """Return headlines/s and labels."""
    begun = time.perf_counter()
    labels = [found["label"] for found in classify(texts, batch_size=batch_size, truncation=True)]
    return len(texts) / (time.perf_counter() - begun), labels


def compare(arguments: argparse.Namespace) -> None:
    folder = arguments.data / "feeds" / "nightly"
    texts = pl.read_parquet(folder / "*.parquet")["headline"].to_list()
    start = np.random.default_rng(0).integers(0, len(texts) - arguments.sample)
    sample = texts[start : start + arguments.sample]
    classify = make_pipeline(arguments.model)
    classify(sample[:32], batch_size=32)
    rates: dict[str, list[float]] = {}
    labels: dict[str, list[str]] = {}
    for _ in range(arguments.rounds):
        few = max(50, arguments.sample // 8)
        rate, _found = run_pipeline(classify, sample[:few], 1)
        rates.setdefault("pipeline, one by one", []).append(rate)
        rate, labels["pipeline"] = run_pipeline(classify, sample, 32)
        rates.setdefault("pipeline, batches of 32", []).append(rate)
        for weights in arguments.weights:
            rate, labelled = ours(folder, arguments.model, weights)
            rates.setdefault(f"finsent-batch, {weights}", []).append(rate)
            known = dict(labelled.iter_rows())
            labels[weights] = [known[text] for text in sample]
    base = statistics.median(rates["pipeline, batches of 32"])
    rows = []
    for name, found in rates.items():
        weights = name.rpartition(" ")[2]
        rate = statistics.median(found)
        same = float("nan")
        if weights in labels:
            pairs = zip(labels[weights], labels["pipeline"], strict=True)
            same = 100 * float(np.mean([a == b for a, b in pairs]))
        rows.append([name, rate / base, rate, same])
    emit(
        "mini_throughput",
        ["way", "× batched pipeline", "rows/s", "% equal labels"],
        rows,
        rounds=arguments.rounds,
        sample=arguments.sample,
        rows_scored=len(texts),
    )


def budgets(arguments: argparse.Namespace) -> None:
    folder = arguments.data / "feeds" / "nightly"
    frame = pl.read_parquet(folder / "*.parquet")["headline"].unique(maintain_order=True)
    texts = normalize(frame.to_list()[: arguments.sample])
    spec = open_model(arguments.model)
    rows = []
    for weights in arguments.weights:
        first = None
        for budget in (256, 512, 1024, 2048, 4096):
            scorer = EncoderScorer(spec, device="cpu", weights=weights, max_batch_tokens=budget)
            answers = answered(scorer, texts)
            first = answers if first is None else first
            found, used = [], []
            for _ in range(arguments.rounds):
                begun, cpu = time.perf_counter(), time.process_time()
                list(scorer.score(texts))
                found.append(len(texts) / (time.perf_counter() - begun))
                used.append(1e6 * (time.process_time() - cpu) / len(texts))
            apart = float(np.abs(answers - first).max())
            same = 100 * float((answers.argmax(1) == first.argmax(1)).mean())
            rows.append([weights, budget, statistics.median(found), statistics.median(used),
                         f"{apart:.4f}", same])  # fmt: skip
    emit(
        "mini_budgets",
        ["weights", "tokens a batch", "headlines/s", "CPU µs/headline", "largest difference",
         "% equal labels"],
        rows,
        headlines=len(texts),
    )  # fmt: skip


def answered(scorer: EncoderScorer, texts: list[str]) -> np.ndarray:
    """Return the probabilities of all texts, (n, 3)."""
    found = np.empty((len(texts), 3), dtype=np.float32)
    for batch in scorer.score(texts):
        found[batch.positions] = batch.probabilities
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--weights", nargs="+", default=["auto", "fp32"])
    parser.add_argument("--sample", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budgets", action="store_true")
    arguments = parser.parse_args()
    (budgets if arguments.budgets else compare)(arguments)


if __name__ == "__main__":
    main()
