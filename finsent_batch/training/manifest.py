"""The manifest `finsent.json` of a trained model, for both families."""

import importlib.metadata
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ..labelled.split_folders import Labelled, split_notes
from ..labels import LABELS
from ..models.base_weights import weight_files
from ..models.locate import PACKAGED_BASE, base_name
from ..models.manifest import FORMAT_VERSION
from ..models.weight_files import FileHashes
from ..train_config import (
    ADAPTER_SETTINGS,
    CAUSAL,
    ENCODER,
    FULL_PRESETS,
    SOFT_SETTINGS,
    TrainConfig,
    family_of,
    settings_of,
)

_PACKAGES: Final = ("torch", "transformers", "peft", "accelerate", "datasets")
_OPTIONAL: Final = ("trl", "bitsandbytes")
# Where it ran and whether it was begun anew do not change what was learnt.
_LEFT_OUT: Final = (
    "data", "output", "overwrite", "threads", "base", "preset", "resume", "memory_budget",
    "save_steps", "report_to", "soft_labels", "soft_text_column", "exclude", "drop_held_out",
)  # fmt: skip


def hyperparameters(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide what is learnt."""
    foreign = settings_of(ENCODER if family_of(config.preset) == CAUSAL else CAUSAL)
    if config.preset in FULL_PRESETS:
        foreign += ADAPTER_SETTINGS
    if not config.soft_labels:
        foreign += SOFT_SETTINGS
    settings = asdict(config).items()
    return {name: value for name, value in settings if name not in (*_LEFT_OUT, *foreign)}


def package_versions() -> dict[str, str]:
    """Return the versions of the libraries that train."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    for name in _OPTIONAL:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def manifest(
    config: TrainConfig,
    data: Labelled,
    *,
    family: str,
    base: Path,
    max_length: int,
    own: dict[str, Any],
) -> dict[str, Any]:
    """Return the `finsent.json` of a model, before it is calibrated and measured.

    `base` is the folder that `config.base` names, `own` what this family alone records.
    """
    hashes = FileHashes()
    return {
        "format_version": FORMAT_VERSION,
        "family": family,
        "preset": config.preset,
        "base": {
            "id": base_name(config.base or PACKAGED_BASE),
            "files": {f.name: hashes.sha256(f) for f in weight_files(base)},
        },
        "quantisation": config.quantisation,
        **own,
        "labels": list(LABELS),
        "max_length": max_length,
        "temperature": 1.0,
        "training": {
            "data_sha256": data.sha256,
            "data": [split_notes(folder) for folder in config.data],
            "hyperparameters": hyperparameters(config),
            "seed": config.seed,
        },
        "versions": package_versions(),
        "metrics": {},
    }


def own_weights(card: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what differs in the manifest of a model that holds all its weights, in `folder`.

    Its base is then what it was trained from, and no part of it any more.
    """
    hashes = FileHashes()
    files = {f.name: hashes.sha256(f) for f in weight_files(folder)}
    return {
        "merged": True,
        "base": {"id": card["base"]["id"], "files": files},
        "trained_from": card["base"]["files"],
    }
