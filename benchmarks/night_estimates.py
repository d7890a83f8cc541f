"""Estimated and true accuracy of a model on labelled rows; part of `night_gates.py`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from accuracy import splits

import finsent_batch as fb
from finsent_batch.labelled.duplicates import normalized
from finsent_batch.labels import LABELS
from finsent_batch.metrics.confidence import ConfidenceFit, reach_of
from finsent_batch.models.manifest import write_manifest

COLUMNS = ["rows of", "n", "confidence", "estimated", "true", "error", "nights in the interval"]


def estimates(
    data: Path, scratch: Path, draws: int, model: str, calibrate: Path | None
) -> list[list[Any]]:
    """Return a line for each labelled set: estimated and true accuracy, and the coverage.

    How probabilities say whether a label is right is fitted to the other sets alone; what the
    manifest of `calibrate` gets is fitted to all of them.
    """
    splits(data, scratch)
    sets = {
        "PhraseBank, the tutorial's 900": ("tutorial/test", "phrasebank/valid"),
        "SEntFiN, test": ("sentfin/test", "sentfin/valid"),
        "TFNS, test": ("tfns/test", "tfns/valid"),
    }
    held_out = {
        title: [labelled(scratch, name, model) for name in names] for title, names in sets.items()
    }
    if calibrate is not None:
        fit = fitted([part for parts in held_out.values() for part in parts])
        manifest = json.loads((calibrate / "finsent.json").read_text("utf-8"))
        write_manifest(calibrate, manifest | {"confidence_fit": asdict(fit)})
    lines = []
    for title, (tested, *_) in held_out.items():
        others = fitted([p for other, parts in held_out.items() if other != title for p in parts])
        p, truth = tested
        sure, right = others.right(p), (p.argmax(axis=1) == truth).astype(np.float64)
        rng, inside = np.random.default_rng(0), 0
        for _ in range(draws):
            night = rng.integers(0, len(sure), len(sure))
            reach = reach_of((sure[night] * (1 - sure[night])).sum(), len(night))
            inside += abs(sure[night].mean() - right[night].mean()) <= reach
        reach = reach_of((sure * (1 - sure)).sum(), len(sure))
        lines.append([title, len(sure), f"{p.max(axis=1).mean():.3f}",
                      f"{sure.mean():.3f} ± {reach:.3f}", f"{right.mean():.3f}",
                      f"{sure.mean() - right.mean():+.3f}", f"{inside / draws:.1%}"])  # fmt: skip
    return lines


def labelled(folder: Path, name: str, model: str) -> tuple[Any, Any]:
    """Return probabilities and labels of held-out rows."""
    frame = normalized(pl.read_parquet(folder / f"{name}.parquet"))
    scored = fb.score_frame(frame.select("headline"), model=model, store=folder / "s.duckdb")
    truth = np.array([LABELS.index(label) for label in frame["label"]])
    return scored.select(f"p_{label}" for label in LABELS).to_numpy(), truth


def fitted(parts: list[tuple[Any, Any]]) -> ConfidenceFit:
    """Return the fit to all of these rows."""
    return ConfidenceFit.fitted(*(np.concatenate(side) for side in zip(*parts, strict=True)))
