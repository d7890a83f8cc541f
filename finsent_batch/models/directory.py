"""A model as a directory on disk: an adapter with `finsent.json`, or a plain classifier.

Nothing here loads weights or imports torch; a fully cached run needs only
what this module tells.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..config import DEFAULT_MODEL
from ..errors import ConfigError, MissingInputError
from ..labels import LABELS, label_index
from .bases import from_hub, read_json, resolve_base, weight_files
from .files import FileHashes

FORMAT_VERSION: Final = 1
CARD_FILE: Final = "finsent.json"
DEFAULT_MAX_LENGTH: Final = 512

# Raised whenever the arithmetic of scoring changes what a model answers.
_SCORING_VERSION = 1
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model that is on disk and fit to score, not yet loaded."""

    name: str
    """As the user named it."""
    folder: Path
    base: Path
    """Folder of the base weights and `config.json`; `folder` itself for a plain classifier."""
    adapter: Path | None
    family: str
    label_order: tuple[int, int, int]
    """Index of the model's output for each of `LABELS`."""
    max_length: int
    temperature: float
    card: dict[str, Any] = field(hash=False)
    """The contents of `finsent.json`; empty for a plain classifier."""

    @property
    def tokenizer(self) -> Path:
        """Folder that holds the tokenizer."""
        own = self.adapter is not None and (self.folder / "tokenizer.json").exists()
        return self.folder if own else self.base

    @property
    def int8_able(self) -> bool:
        """Whether the int8 scorer knows this architecture: BERT as it was published."""
        config = read_json(self.base / "config.json")
        return (
            config.get("model_type") == "bert"
            and config.get("hidden_act", "gelu") == "gelu"
            and config.get("position_embedding_type", "absolute") == "absolute"
        )

    @property
    def base_id(self) -> str:
        """What the base is called in listings."""
        return str(self.card.get("base", {}).get("id", self.folder.name))

    def fingerprint(self, weights: str, hashes: FileHashes) -> str:
        """Return 128 bits, in hexadecimal, of everything that decides this model's answers.

        Raises:
            ConfigError: the base is not the one that the adapter was trained on.
        """
        base = {f.name: hashes.sha256(f) for f in weight_files(self.base)}
        expected = self.card.get("base", {}).get("files", {})
        for name, digest in expected.items():
            if base.get(name) != digest:
                raise ConfigError(
                    f"{self.name}: its adapter was trained on another base: {name} in {self.base} "
                    f"has SHA-256 {base.get(name, 'none')[:12]}…, expected {digest[:12]}…"
                )
        identity = {
            "scoring_version": _SCORING_VERSION,
            "family": self.family,
            "weights": weights,
            "base": base,
            "base_config": _config_hash(self.base),
            "adapter": {
                f.name: hashes.sha256(f)
                for f in ([] if self.adapter is None else sorted(self.adapter.glob("adapter_*")))
            },
            "tokenizer": {
                name: hashes.sha256(self.tokenizer / name)
                for name in _TOKENIZER_FILES
                if (self.tokenizer / name).exists()
            },
            "pooling": self.card.get("pooling"),
            "label_order": self.label_order,
            "max_length": self.max_length,
            "temperature": self.temperature,
        }
        canonical = json.dumps(identity, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def open_model(name: str) -> ModelSpec:
    """Find the model a user names: `mini`, a directory, or a Hub id.

    Raises:
        MissingInputError: no such directory, or the Hub cannot give it.
        ConfigError: it cannot score three sentiments, or not safely.
    """
    if name == DEFAULT_MODEL and not Path(name).is_dir():
        return _open_adapter(name, Path(__file__).parent / "mini")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if folder.exists():
            raise MissingInputError(f"model {name} is a file: name the directory it lies in")
        folder = from_hub(name)
    if (folder / CARD_FILE).exists():
        return _open_adapter(name, folder)
    if (folder / "adapter_config.json").exists():
        raise ConfigError(
            f"{name} is an adapter without {CARD_FILE}, which names its labels and base: "
            "train it with finsent-batch train"
        )
    return _open_classifier(name, folder)


def _open_adapter(name: str, folder: Path) -> ModelSpec:
    card = read_json(folder / CARD_FILE)
    version = card.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ConfigError(
            f"{name}: {CARD_FILE} has format version {version!r}, this version knows "
            f"{FORMAT_VERSION}: upgrade finsent-batch"
        )
    if card.get("family") != "sequence_classifier":
        raise ConfigError(
            f"{name}: family {card.get('family')!r} is not one this version can score: "
            "sequence_classifier"
        )
    if card.get("labels") != list(LABELS):
        raise ConfigError(f"{name}: {CARD_FILE} must list the labels {list(LABELS)} in that order")
    for required in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / required).exists():
            raise MissingInputError(f"model {name} lacks {required}: train it again or copy it")
    return ModelSpec(
        name=name,
        folder=folder,
        base=resolve_base(card["base"]["id"]),
        adapter=folder,
        family=card["family"],
        label_order=(0, 1, 2),
        max_length=int(card["max_length"]),
        temperature=float(card["temperature"]),
        card=card,
    )


def _open_classifier(name: str, folder: Path) -> ModelSpec:
    if not (folder / "config.json").exists():
        raise MissingInputError(f"{name} is no model directory: it has no config.json")
    config = read_json(folder / "config.json")
    architecture = (config.get("architectures") or ["?"])[0]
    if "SequenceClassification" not in architecture:
        raise ConfigError(
            f"{name} is a {architecture}; this version scores sequence classifiers "
            "(…ForSequenceClassification) with three labels"
        )
    weight_files(folder)
    limits = [DEFAULT_MAX_LENGTH, config.get("max_position_embeddings", DEFAULT_MAX_LENGTH)]
    if (folder / "tokenizer_config.json").exists():
        limit = read_json(folder / "tokenizer_config.json").get("model_max_length")
        limits.append(int(limit) if limit else DEFAULT_MAX_LENGTH)
    return ModelSpec(
        name=name,
        folder=folder,
        base=folder,
        adapter=None,
        family="sequence_classifier",
        label_order=_label_order(name, config.get("id2label") or {}),
        max_length=min(limits),
        temperature=1.0,
        card={},
    )


def _label_order(name: str, id2label: dict[str, str]) -> tuple[int, int, int]:
    found = {label_index(str(label)): int(index) for index, label in id2label.items()}
    if len(id2label) != 3 or set(found) != {0, 1, 2}:
        words = ", ".join(map(str, id2label.values())) or "none"
        raise ConfigError(
            f"{name}: its labels are {words}; they must be negative, neutral and positive "
            "(set id2label in its config.json)"
        )
    return found[0], found[1], found[2]


def _config_hash(folder: Path) -> str:
    text = (folder / "config.json").read_bytes() if (folder / "config.json").exists() else b""
    return hashlib.sha256(text).hexdigest()
