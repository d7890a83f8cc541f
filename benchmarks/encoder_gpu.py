"""The embedded model on a GPU: the whole command, beside the ways of other libraries.

    python benchmarks/encoder_gpu.py ../shared/data

Ours is `score` over the year's file in a fresh store, its stages apart; the others
are given a sample of the same headlines, in file order: `transformers.pipeline` with
batches of 32 and 256 in fp16, and sentence-transformers' `encode` with our head behind
it, where that is installed. All use the same weights and the same GPU. Labels are
compared with fp32's on the CPU, for the sample. `--limit` rows are taken of the file;
without a GPU the script is checked, and its figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch
from report import emit
from transformers import AutoTokenizer, pipeline

from finsent_batch.config import ModelConfig
from finsent_batch.models.directory import open_configured, open_model
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.scorers.encoder.model import load_classifier
from finsent_batch.scorers.load import load_scorer

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
MODEL = "mini"


def whole_command(feed: Path, limit: int, weights: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """Return the summary of one `score` run in a process of its own, and its labelled rows."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "out.parquet"
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "finsent_batch", "--store", f"{scratch}/store.duckdb",
             "score", str(feed), "-o", str(output), "--model", MODEL, "--device", DEVICE,
             "--weights", weights, "--limit", str(limit), "--summary", "json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(done.stderr)
        summary: dict[str, Any] = json.loads(done.stdout)
        summary["wall"] = time.perf_counter() - begun
        return summary, pl.read_parquet(output, columns=["headline", "sentiment"])


def labels_of(texts: list[str], weights: str, device: str) -> list[str]:
    """Return our labels of texts from a scorer that is loaded for them."""
    config = ModelConfig(model=MODEL, weights=weights, device=device)
    scorer = load_scorer(open_configured(config).resolve(config, FileHashes()))
    names = ("negative", "neutral", "positive")
    found = [""] * len(texts)
    for batch in scorer.score(texts):
        for at, best in zip(batch.positions, batch.probabilities.argmax(1), strict=True):
            found[int(at)] = names[int(best)]
    return found


def by_pipeline(texts: list[str], size: int) -> tuple[float, list[str]]:
    """Return headlines/s and labels of `transformers.pipeline` in fp16 (fp32 on a CPU)."""
    spec = open_model(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer, local_files_only=True)
    tokenizer.model_max_length = spec.max_length
    model = load_classifier(spec, dtype=torch.float16 if CUDA else torch.float32)
    classify: Any = pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device=0 if CUDA else -1
    )
    list(classify(texts[:size], batch_size=size, truncation=True))
    begun = time.perf_counter()
    labels = [found["label"] for found in classify(texts, batch_size=size, truncation=True)]
    return len(texts) / (time.perf_counter() - begun), labels


def by_sentence_transformers(texts: list[str], size: int) -> tuple[float, list[str]]:
    """Return headlines/s and labels of sentence-transformers' mean pooling and our head."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    spec = open_model(MODEL)
    classifier = load_classifier(spec)
    with tempfile.TemporaryDirectory() as scratch:
        classifier.base_model.save_pretrained(scratch)
        AutoTokenizer.from_pretrained(spec.tokenizer, local_files_only=True).save_pretrained(
            scratch
        )
        words = Transformer(scratch, max_seq_length=spec.max_length)
    encoder = SentenceTransformer(modules=[words, Pooling(classifier.config.hidden_size)])
    if CUDA:
        encoder, head = encoder.half().to("cuda"), classifier.classifier.half().to("cuda")
    else:
        head = classifier.classifier
    names = [classifier.config.id2label[i] for i in range(3)]
    encoder.encode(texts[:size], batch_size=size, convert_to_tensor=True)
    begun = time.perf_counter()
    with torch.inference_mode():
        states = encoder.encode(texts, batch_size=size, convert_to_tensor=True)
        best = head(states.to(head.weight.dtype)).argmax(1).tolist()
    return len(texts) / (time.perf_counter() - begun), [names[i] for i in best]


def others(texts: list[str], truth: list[str]) -> list[list[Any]]:
    """Return a row for each other way that is installed."""
    ways: list[tuple[str, Any, int]] = [
        (f"transformers.pipeline, batches of {size}", by_pipeline, size) for size in (32, 256)
    ]
    ways.append(("sentence-transformers, batches of 256", by_sentence_transformers, 256))
    rows = []
    for name, way, size in ways:
        try:
            rate, labels = way(texts, size)
        except ModuleNotFoundError as error:
            print(f"{name}: {error.name} is not installed, left out", file=sys.stderr)
            continue
        rows.append([name, len(texts), rate, rate, equal(labels, truth), None])
    return rows


def equal(labels: list[str], truth: list[str]) -> float:
    """Return the share of equal labels, in percent."""
    return 100 * sum(a == b for a, b in zip(labels, truth, strict=True)) / len(truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=830_903)
    parser.add_argument("--sample", type=int, default=20_000)
    parser.add_argument("--weights", nargs="+", default=["bf16", "fp32"] if CUDA else ["fp32"])
    given = parser.parse_args()
    feed = given.data / "feeds" / "reuters_2013.parquet"
    texts = pl.read_parquet(feed, columns=["headline"])["headline"].head(given.sample).to_list()
    truth = labels_of(texts, "fp32", "cpu")
    rows: list[list[Any]] = []
    for weights in given.weights:
        summary, labelled = whole_command(feed, given.limit, weights)
        own = labelled["sentiment"].head(len(texts)).to_list()
        scored = summary["headlines_per_second"]
        whole = summary["rows"]["read"] / summary["wall"]
        rows.append([f"score, {weights}", summary["rows"]["read"], scored, whole,
                     equal(own, truth), summary["wall"]])  # fmt: skip
        print(weights, summary["seconds"], file=sys.stderr, flush=True)
    rows += others(texts, truth)
    for row in rows:
        row.append(rows[0][2] / row[2])
    columns = ["way", "rows", "headlines/s", "rows/s, whole command", "labels equal to fp32's, %",
               "seconds, whole command", "ours is faster"]  # fmt: skip
    device = torch.cuda.get_device_name() if CUDA else "cpu"
    emit("encoder_gpu", columns, rows, device=device)


if __name__ == "__main__":
    main()
