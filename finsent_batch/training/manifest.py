"""What `finsent.json` says of how a model was trained, whatever its kind."""

import importlib.metadata
from dataclasses import asdict
from typing import Any, Final

from ..labelled.split_folders import Labelled, split_notes
from ..labels import LABELS
from ..models.base_weights import base_name, weight_files
from ..models.manifest import FORMAT_VERSION
from ..models.prompts import DEFAULT_PROMPT
from ..models.spec import CAUSAL, ModelSpec
from ..models.weight_files import FileHashes
from ..scorers.causal.prompt_tokens import PromptTokens
from ..train_config import CAUSAL_PRESETS, TrainConfig

_PACKAGES: Final = ("torch", "transformers", "peft", "accelerate", "datasets")
_OPTIONAL: Final = ("trl", "bitsandbytes")
# Where it ran and whether it was begun anew do not change what was learnt.
_LEFT_OUT: Final = (
    "data", "output", "overwrite", "threads", "base", "preset", "resume", "memory_budget",
    "save_steps", "report_to",
)  # fmt: skip


_CAUSAL_ONLY: Final = (
    "quantisation", "loss", "auto_batch", "gradient_checkpointing", "early_stopping_patience",
    "optim", "target_modules",
)  # fmt: skip
_ENCODER_ONLY: Final = ("pooling", "ema_decay")


def hyperparameters(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide what is learnt."""
    foreign = _ENCODER_ONLY if config.preset in CAUSAL_PRESETS else _CAUSAL_ONLY
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


def causal_card(
    config: TrainConfig, spec: ModelSpec, tokens: PromptTokens, data: Labelled
) -> dict[str, Any]:
    """Return the `finsent.json` of a causal adapter, before it is calibrated and measured."""
    hashes = FileHashes()
    return {
        "format_version": FORMAT_VERSION,
        "family": CAUSAL,
        "preset": config.preset,
        "base": {
            "id": base_name(config.base or ""),
            "files": {f.name: hashes.sha256(f) for f in weight_files(spec.base)},
        },
        "quantisation": config.quantisation,
        "prompt": DEFAULT_PROMPT.to_card(),
        "label_token_ids": list(tokens.label_ids),
        "labels": list(LABELS),
        "max_length": spec.max_length,
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
