"""Does int8 keep fp32's labels on BERTs other than the embedded one?

    finsent-batch prepare DATA/tfns.csv -o tfns
    finsent-batch train --preset encoder --base BASE --data tfns --pooling cls -o tfns-cls
    python benchmarks/int8_labels.py HEADLINES.csv mini tfns-cls …

For each model: the bound below which an answer is not sure (measured when the model is loaded, on
384 made-up headlines), and on the headlines given the share of labels that are fp32's, of int8
alone and with what lies below the bound scored again; and how much that is. `--outliers 20` also
takes each model with a few value channels of every layer 20 times as large, and what reads them
20 times as small: in fp32 it is the same model, in int8 one with the outlying channels of large
ones. Exits with 1 if a model keeps fewer than 99.8 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import polars as pl
import torch
from report import emit
from safetensors.torch import load_file, save_file

from finsent_batch.arrays import FloatArray
from finsent_batch.headlines import normalize
from finsent_batch.labels import LABELS
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.encoder.scorer import EncoderScorer
from finsent_batch.scorers.near_tie import NEVER

KEPT = 99.8
"""Percent of labels that must be fp32's."""
NO_BOUND = 1e-9
CHANNELS = 4
"""Value channels of each layer that `--outliers` enlarges."""


def headlines(file: Path, column: str | None, rows: int) -> list[str]:
    """Return distinct headlines of a CSV or Parquet file."""
    frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file)
    name = column or next(n for n in ("headline", "title", "Title", "text") if n in frame.columns)
    texts = [text for text in normalize(frame[name].to_list()) if text]
    return list(dict.fromkeys(texts))[:rows]


def enlarged(model: Path, factor: float, folder: Path) -> Path:
    """Copy a model with some value channels larger, and the layer that reads them smaller."""
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith("attention.self.value.weight")]:
        layer, size = name.removesuffix("self.value.weight"), tensors[name].shape[0]
        channels = torch.arange(0, size, size // CHANNELS)
        tensors[name][channels] *= factor
        tensors[f"{layer}self.value.bias"][channels] *= factor
        tensors[f"{layer}output.dense.weight"][:, channels] /= factor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    card = folder / "finsent.json"
    if card.exists():  # it names the file that it was written beside
        content = json.loads(card.read_text("utf-8"))
        content["base"].pop("files", None)
        card.write_text(json.dumps(content))
    return folder


def measure(name: str, model: str, texts: list[str]) -> list[Any]:
    """Return a row of the table."""
    spec = open_model(model)
    if not spec.int8_able:
        raise SystemExit(f"{model} is no BERT that runs in int8")
    as_shipped = EncoderScorer(spec, device="cpu", weights="int8")
    bound = as_shipped.near_tie or 0.0
    fast = answers(EncoderScorer(spec, device="cpu", weights="int8", near_tie=NO_BOUND), texts)
    full = answers(EncoderScorer(spec, device="cpu", weights="fp32"), texts)
    shipped = answers(as_shipped, texts)
    ordered = np.sort(fast, axis=1)
    unsure = ordered[:, 2] - ordered[:, 1] < bound
    labels = full.argmax(1)
    return [
        *(name, len(texts), "fp32 instead" if bound >= NEVER else round(bound, 3)),
        round(float(np.abs(fast - full).max()), 3),
        *(round(100 * float((p.argmax(1) == labels).mean()), 3) for p in (fast, shipped)),
        round(100 * float(unsure.mean()), 2),
    ]


def answers(scorer: EncoderScorer, texts: list[str]) -> FloatArray:
    """Return a scorer's probabilities, (n, 3)."""
    found = np.empty((len(texts), len(LABELS)), np.float32)
    for batch in scorer.score(texts):
        found[batch.positions] = batch.probabilities
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("headlines", type=Path, help="CSV or Parquet.")
    parser.add_argument("models", nargs="+", help="mini, or directories of BERT classifiers.")
    parser.add_argument("--column", help="Headline column.")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--outliers", type=float, help="Factor of enlarged value channels.")
    options = parser.parse_args()
    texts = headlines(options.headlines, options.column, options.rows)
    rows = []
    for model in options.models:
        name = Path(model).name
        rows.append(measure(name, model, texts))
        print(*rows[-1], file=sys.stderr)
        if options.outliers and (Path(model) / "model.safetensors").exists():
            with tempfile.TemporaryDirectory() as work:
                other = enlarged(Path(model), options.outliers, Path(work) / "model")
                rows.append(measure(f"{name}, {options.outliers:g} x", str(other), texts))
            print(*rows[-1], file=sys.stderr)
    emit(
        "int8_labels",
        ["model", "headlines", "bound", "largest move", "int8 alone, %", "with bound, %",
         "again in fp32, %"],
        rows,
        data=options.headlines.name,
    )  # fmt: skip
    sys.exit(any(row[5] < KEPT for row in rows))


if __name__ == "__main__":
    main()
