"""Accuracy on rows that no training row repeats, with intervals, beside published figures.

    python benchmarks/accuracy.py ../shared/data --model mini --model my-model

Prints a Markdown table a model: the tutorial's 900 rows of FinancialPhraseBank as a whole, by the
least share of annotators who agreed on a sentence, and by label; the test rows of SEntFiN and of
Twitter Financial News Sentiment. The splits are those of `make mini`, so that they are unseen for
the embedded model; for another model it is up to you to know. PhraseBank's labels at their natural
mix are those of FinGPT's test rows: all of them, for models trained without, and those that `make
mini` does not train on. Intervals are the middle 95 % of bootstrap samples of the rows. `by chance`
is the calibration error of a model whose probabilities are true: the mean of 200 drawings of labels
from them. `too sure` is by how much the mean confidence lies above the accuracy.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from datasets import Dataset
from report import emit

import finsent_batch as fb
from finsent_batch.config import EMBEDDED_MODELS, LabelledFormat
from finsent_batch.labelled.duplicates import duplicate_key, normalized
from finsent_batch.labelled.formats import AGREEMENT, read_labelled
from finsent_batch.labels import LABELS
from finsent_batch.metrics.classification import evaluate_predictions, expected_calibration_error

MAKE = Path(fb.__file__).parent / "models" / "mini" / "make.sh"
_AGREED = {1.0: "all", 0.75: "75 to 99 %", 0.66: "66 to 74 %", 0.5: "50 to 65 %"}
PUBLISHED = """
Published by others, not measured here:
  the tutorial's Llama 2 7B, fine-tuned, on the same 900 rows: accuracy 0.853
  FinGPT's test rows of PhraseBank, weighted F1: FinGPT v3.2, a Llama 2 7B, 0.850 (its README)
  TFNS validation set (not these rows), weighted F1: FinGPT v3.2 0.894, FinBERT 0.733
"""


def splits(data: Path, work: Path) -> None:
    """Make the splits of `make mini` in `work`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "DATA": str(data), "WORK": str(work), "ONLY": "data",
                   "VARIATIONS": "0"}  # fmt: skip
    subprocess.run(["sh", str(MAKE)], env=environment, check=True, stdout=subprocess.DEVNULL)


def agreement(data: Path) -> dict[str, float]:
    """Return the least share of annotators who agreed, by a sentence's `duplicate_key`."""
    found: dict[str, float] = {}
    for name, share in sorted(AGREEMENT.items(), key=lambda item: item[1]):
        frame = normalized(read_labelled(data / "phrasebank" / name, LabelledFormat()))
        found |= {duplicate_key(headline): share for headline in frame["headline"]}
    return found


def parts(data: Path, work: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each part's name and its labelled rows."""
    tutorial = normalized(pl.read_parquet(work / "tutorial" / "test.parquet"))
    yield "PhraseBank, the tutorial's 900", tutorial
    shares = agreement(data)
    known = pl.Series([shares.get(duplicate_key(h)) for h in tutorial["headline"]])
    for least, said in _AGREED.items():
        yield f"  annotators who agreed: {said}", tutorial.filter(known == least)
    for label in LABELS:
        yield f"  {label}", tutorial.filter(pl.col("label") == label)
    yield from natural_mix(data, work)
    for name, title in (("sentfin", "SEntFiN, test"), ("tfns", "TFNS, test")):
        yield title, normalized(pl.read_parquet(work / name / "test.parquet"))


def natural_mix(data: Path, work: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield FinGPT's test rows of PhraseBank, and those of them that `make mini` leaves out.

    FinGPT splits the rows of at least half agreement by `train_test_split(seed=42)` of datasets.
    """
    file = data / "phrasebank" / "Sentences_50Agree.txt"
    rows = Dataset.from_dict(read_labelled(file, LabelledFormat()).to_dict(as_series=False))
    test = normalized(pl.DataFrame(rows.train_test_split(seed=42)["test"].to_dict()))
    yield "PhraseBank, FinGPT's test rows", test
    learned = pl.read_parquet(work / "phrasebank" / "train.parquet")["headline"]
    known = {duplicate_key(headline) for headline in learned}
    new = pl.Series([duplicate_key(headline) not in known for headline in test["headline"]])
    yield "  not in make mini's training rows", test.filter(new)


def row(title: str, frame: pl.DataFrame, model: str, draws: int, store: Path) -> list[object]:
    """Return one line: rows, accuracy with its interval, macro F1, what its probabilities say."""
    scored = fb.score_frame(frame.select("headline"), model=model, store=store)
    probabilities = scored.select(f"p_{label}" for label in LABELS).to_numpy()
    truth = np.array([LABELS.index(label) for label in frame["label"]], dtype=np.int64)
    found = evaluate_predictions(truth, probabilities)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    rng = np.random.default_rng(0)
    samples = [right[rng.integers(0, len(right), len(right))].mean() for _ in range(draws)]
    low, high = np.percentile(samples, [2.5, 97.5])
    several = len(set(truth.tolist())) > 1
    too_sure = probabilities.max(axis=1).mean() - right.mean()
    return [title, len(right), f"{found['accuracy']:.3f}", f"{low:.3f} to {high:.3f}",
            f"{found['macro_f1']:.3f}" if several else "", f"{found['ece']:.3f}",
            f"{by_chance(probabilities):.3f}", f"{too_sure:+.3f}"]  # fmt: skip


def by_chance(probabilities: np.ndarray) -> float:
    """Return the mean calibration error where labels are drawn from the probabilities, (n, 3)."""
    rng, predicted = np.random.default_rng(0), probabilities.argmax(axis=1)
    cumulated = probabilities.astype(np.float64).cumsum(axis=1)
    errors = []
    for _ in range(200):
        drawn = (rng.random((len(predicted), 1)) * cumulated[:, -1:] > cumulated).sum(axis=1)
        errors.append(expected_calibration_error(drawn, predicted, probabilities))
    return float(np.mean(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with phrasebank/, sentfin/ and tfns/")
    parser.add_argument(
        "--model", action="append", help="repeatable; default: those that come with the package"
    )
    parser.add_argument("--draws", type=int, default=2000, help="bootstrap samples")
    arguments = parser.parse_args()
    columns = ["rows of", "n", "accuracy", "95 % interval", "macro F1", "calibration error",
               "by chance", "too sure"]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        splits(arguments.data, Path(scratch))
        for model in arguments.model or EMBEDDED_MODELS:
            print(f"\n{model}")
            lines = [
                row(title, frame, model, arguments.draws, Path(scratch) / "store.duckdb")
                for title, frame in parts(arguments.data, Path(scratch))
                if frame.height
            ]
            emit(f"accuracy-{Path(model).name}", columns, lines, model=model)
    print(PUBLISHED)


if __name__ == "__main__":
    main()
