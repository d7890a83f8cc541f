"""The model card that `train` writes: README.md of a model directory."""

import os
from pathlib import Path
from typing import Any

from ..io.atomic import replacing
from .license import PHRASEBANK
from .manifest import MANIFEST_FILE, write_manifest
from .spec import ModelSpec

_PHRASEBANK_TOLD = (
    ": FinancialPhraseBank is CC BY-NC-SA 3.0 (non-commercial), SEntFiN 1.0 and Twitter "
    "Financial News Sentiment are MIT.\n"
)


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write `README.md` from what `finsent.json` says; nothing for one that was written by hand."""
    if "training" not in card:
        return
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(render_card(card), "utf-8")


def add_evaluation(
    spec: ModelSpec, data: Path, metrics: dict[str, Any], base: dict[str, Any] | None = None
) -> None:
    """Put the figures of an evaluation into a model directory's `finsent.json` and card.

    Those of its `base` on the same rows, where they were measured, stand before them.

    The embedded model and directories that may not be written stay as they are;
    so does the fingerprint, which figures are no part of.
    """
    if spec.adapter is None or spec.embedded or not os.access(spec.folder, os.W_OK):
        return
    if not (spec.folder / MANIFEST_FILE).exists():
        return  # another program's directory stays as it is
    measured = {f"base/{data.name}": base, f"evaluate/{data.name}": metrics}
    figures = {
        part: {k: v for k, v in found.items() if k not in ("model", "model_fingerprint")}
        for part, found in measured.items()
        if found is not None
    }
    card = {**spec.manifest, "metrics": {**spec.manifest.get("metrics", {}), **figures}}
    write_manifest(spec.folder, card)
    write_card(spec.folder, card)


def render_card(card: dict[str, Any]) -> str:
    """Return the model card as Markdown: what it is, figures, data, settings, limits."""
    training = card["training"]
    parts = [
        _front(card),
        f"# Sentiment of financial headlines: {_kind(card)}\n",
        f"Labels a headline {', '.join(card['labels'])}. Base: `{card['base']['id']}`; at most "
        f"{card['max_length']} tokens; probabilities calibrated with temperature "
        f"{card['temperature']}. Made by `finsent-batch train --preset {card['preset']}`.\n",
        "## Figures\n",
        _table(
            ["part", "rows", "accuracy", "macro F1", "weighted F1", "calibration error"],
            [
                [
                    name,
                    str(m["n"]),
                    *(f"{m[k]:.3f}" for k in ("accuracy", "macro_f1", "weighted_f1", "ece")),
                ]
                for name, m in card["metrics"].items()
            ],
        ),
        "\nMeasured by `train` on rows that no training row repeats, by `evaluate` on what it was "
        "given.\n",
        "## Data\n",
        _table(
            ["folder", "sources", "training rows", "left out"],
            [[d["folder"], _sources(d), _rows(d), _removed(d)] for d in training["data"]],
        ),
        f"\nSHA-256 of all rows: `{training['data_sha256']}`. The rows themselves are not part of "
        "this directory. Licences of the data apply to what is derived from it"
        + (_PHRASEBANK_TOLD if _has_phrasebank(card) else ".\n"),
        _soft_labels(training.get("soft_labels")),
        "## Settings\n",
        _table(
            ["name", "value"],
            # One that is left to the base or to the end of training says nothing as `None`.
            [[k, str(v)] for k, v in training["hyperparameters"].items() if v is not None],
        ),
        "\nVersions: " + ", ".join(f"{k} {v}" for k, v in card["versions"].items()) + ".\n",
        "## Limits\n",
        "English headlines and single sentences. It reads tone, not truth or relevance, and knows "
        "nothing of prices. Not investment advice.\n",
    ]
    return "\n".join(part for part in parts if part)


def _front(card: dict[str, Any]) -> str:
    """Return the lines that programs read: the Hub's, and `license_of`."""
    lines = []
    if card["base"]["id"].startswith("package:") and not card.get("merged"):
        lines = ["base_model: sentence-transformers/all-MiniLM-L6-v2", "library_name: peft"]
    if _has_phrasebank(card):
        lines.append(f"license: {PHRASEBANK}")
    if not lines:
        return ""
    lines += ["pipeline_tag: text-classification", "tags: [finance, sentiment, lora]"]
    return "\n".join(["---", *lines, "---\n"])


def _has_phrasebank(card: dict[str, Any]) -> bool:
    """Return whether a source is called as FinancialPhraseBank's files are, or Kaggle's copy."""
    data = card["training"]["data"]
    files = [source["file"] for part in data for source in part.get("sources", [])]
    return any(name.startswith("Sentences_") or name == "all-data.csv" for name in files)


def _kind(card: dict[str, Any]) -> str:
    return "a fine-tuned encoder" if card.get("merged") else "a LoRA adapter"


def _soft_labels(soft: dict[str, Any] | None) -> str:
    """Return what the card says of soft labels: their tables, teachers and counts."""
    if soft is None:
        return ""
    rows = [
        [entry["file"], str(entry["rows"]), ", ".join(entry.get("models", {})) or "unknown"]
        for entry in soft["files"]
    ]
    return (
        "## Soft labels\n\n"
        + _table(["table", "rows", "fingerprints of the teachers"], rows)
        + f"\n\nAveraged headline by headline: {soft['used']} headlines without a label of their "
        f"own, and {soft['of_training_rows']} training rows. Left out: {soft['thinned']} "
        f"confidently neutral, {soft['held_out']} that repeat held-out rows. Licences of these "
        "texts, and of what their teachers learned from, apply too.\n"
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _sources(data: dict[str, Any]) -> str:
    return ", ".join(s["file"] for s in data.get("sources", [])) or "unknown"


def _rows(data: dict[str, Any]) -> str:
    return str(data.get("rows", {}).get("train", "?"))


def _removed(data: dict[str, Any]) -> str:
    removed = data.get("removed", {})
    return ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in removed.items() if n) or "none"
