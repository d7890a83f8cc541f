"""A model before it is loaded: `ModelSpec`, what is on disk; `ResolvedModel`, how it will answer.

Nothing here loads weights or imports torch; a run that finds every score in the
store needs no more than this.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ..config import EMBEDDED_MODELS, ModelConfig
from ..errors import ConfigError, FinsentError, TryAgainError
from ..hardware import resolve_device
from ..optional_imports import quick_imports
from .base_weights import weight_files
from .contents import ModelState, check_tokenizer, folder_state, model_files
from .label_classes import PLAIN, LabelClasses, absent_labels, identity
from .precision import causal_weights, classifier_weights
from .prompts import Prompt, assumed_note
from .reading import read_json
from .weight_files import FileHashes

CLASSIFIER: Final = "sequence_classifier"
CAUSAL: Final = "label_tokens"
_VOCABULARIES: Final = (
    "tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "spm.model",
    "sentencepiece.bpe.model",
)  # fmt: skip

# Raised whenever the arithmetic of scoring changes what a model answers, or what is hashed.
_SCORING_VERSION = 2


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
    """`sequence_classifier`, or `label_tokens` for a causal model that is asked a prompt."""
    label_classes: LabelClasses = PLAIN
    """Indexes of a classifier's outputs for each of `LABELS`."""
    max_length: int
    temperature: float = 1.0
    prompt: Prompt | None = None
    """What a causal model is asked; None for a classifier."""
    assumed_prompt: bool = False
    """Whether neither its files nor an option named the prompt: the tutorial's was taken."""
    quantisation: str | None = None
    """`nf4` where the adapter was trained on a base in 4 bits, which must then be scored so."""
    links: tuple[tuple[Path, Path], ...] = ()
    """Folders as they were named, and where that led when the model was found."""
    manifest: dict[str, Any] = field(hash=False, default_factory=dict)
    """The contents of `finsent.json`; empty for a plain classifier."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The base's `config.json`, read once."""
        return read_json(self.base / "config.json")

    @cached_property
    def base_weights(self) -> list[Path]:
        """The base's weight files, their headers checked once; raises as `weight_files`."""
        return weight_files(self.base)

    @property
    def embedded(self) -> bool:
        """Whether this is a model that comes with the package."""
        return self.name in EMBEDDED_MODELS

    @property
    def tokenizer(self) -> Path:
        """Folder that holds the tokenizer."""
        own = self.adapter is not None and any((self.folder / n).exists() for n in _VOCABULARIES)
        return self.folder if own else self.base

    @property
    def int8_able(self) -> bool:
        """Whether the int8 scorer knows this architecture: BERT as it was published."""
        config = self.config
        return (
            config.get("model_type") == "bert"
            and config.get("hidden_act", "gelu") == "gelu"
            and config.get("position_embedding_type", "absolute") == "absolute"
        )

    @property
    def notes(self) -> list[str]:
        """What was assumed of the model, and what it cannot answer; whoever uses it is told."""
        found = [
            f"{self.name} has no output for {label}: no headline is labelled {label}"
            for label in absent_labels(self.label_classes)
        ]
        if self.assumed_prompt:
            found.append(assumed_note(self.name))
        return found

    @property
    def base_id(self) -> str:
        """What the base is called in listings."""
        return str(self.manifest.get("base", {}).get("id", self.folder.name))

    def weights_for(self, wanted: str, device: str) -> str:
        """Return the arithmetic that `--weights wanted` means for this model on a device.

        Raises:
            UsageError: this kind of model does not run in it.
            UnavailableError: this machine cannot.
        """
        if self.family == CLASSIFIER:
            return classifier_weights(wanted, device, int8_able=self.int8_able)
        size = sum(file.stat().st_size for file in self.base_weights)
        return causal_weights(wanted, device, quantized=bool(self.quantisation), size=size)

    def resolve(self, config: ModelConfig, hashes: FileHashes) -> "ResolvedModel":
        """Settle on what and in which arithmetic this model runs here, and hash it.

        Raises:
            UsageError, UnavailableError: it does not run so on this machine.
            ConfigError: its files do not belong together; see `fingerprint`.
            TryAgainError, MissingInputError: its files change just now, or are gone.
        """
        files = self.state()  # before anything is read: what changes from here on shows
        with quick_imports():  # torch is imported here if a GPU is in doubt
            device = resolve_device(config.device)
        weights = self.weights_for(config.weights, device)
        return ResolvedModel(
            spec=self,
            device=device,
            weights=weights,
            max_batch_tokens=config.max_batch_tokens,
            fingerprint=self.fingerprint(weights, hashes),
            files=files,
        )

    def state(self) -> ModelState:
        """Return the state of every file that `fingerprint` hashes; taken before it is called.

        Raises:
            TryAgainError, MissingInputError: the files change just now, or are gone.
        """
        adapter = {} if self.adapter is None else folder_state(self.adapter)
        return folder_state(self.base) | adapter

    def check_unchanged(self, before: ModelState) -> None:
        """Compare the files as they are now with the `state` before they were hashed.

        Raises:
            TryAgainError: one was changed, replaced, added or removed, or a link leads elsewhere.
        """
        try:
            moved = any(named.resolve() != folder for named, folder in self.links)
            changed = moved or self.state() != before
        except FinsentError:
            changed = True
        if changed:
            raise TryAgainError(
                f"model {self.name} changed while it was in use: nothing more was scored with it, "
                "run the same command again"
            )

    def settings(self, weights: str) -> dict[str, Any]:
        """Return what decides the answers beside the files, as the fingerprint holds it."""
        found = {
            "scoring_version": _SCORING_VERSION,
            "family": self.family,
            "weights": self._numbers(weights),
            "tokenizer": "base" if self.tokenizer == self.base else "adapter",
            "pooling": self.manifest.get("pooling"),
            "label_order": identity(self.label_classes),
            "max_length": self.max_length,
            "temperature": self.temperature,
        }
        return found if self.prompt is None else found | {"prompt": self.prompt.to_card()}

    def fingerprint(self, weights: str, hashes: FileHashes) -> str:
        """Return 128 bits, in hexadecimal, of everything that decides this model's answers.

        That is every file that a loader could open (`model_files`), and what the manifest says.

        Raises:
            ConfigError: the base is not the one that the adapter was trained on, or a file
                names others that lie elsewhere.
        """
        _ = self.base_weights  # refused here if they are not whole
        check_tokenizer(self.tokenizer)
        base = {f.name: hashes.sha256(f) for f in model_files(self.base)}
        self._check_base(base)
        adapter = [] if self.adapter is None else model_files(self.adapter)
        identity = self.settings(weights) | {
            "base": base,
            "adapter": {f.name: hashes.sha256(f) for f in adapter},
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]

    def _check_base(self, found: dict[str, str]) -> None:
        for name, digest in self.manifest.get("base", {}).get("files", {}).items():
            if found.get(name) != digest:
                raise ConfigError(
                    f"{self.name}: its adapter was trained on another base: {name} in {self.base} "
                    f"has SHA-256 {found.get(name, 'none')[:12]}…, expected {digest[:12]}…"
                )

    def _numbers(self, weights: str) -> str:
        """Name what decides the numbers: 4-bit weights give the same ones kept in 4 bits or not."""
        if self.quantisation == "nf4" and weights in ("nf4", "bf16"):
            return "nf4"
        weights = "fp8, measured margin" if weights == "fp8" else weights  # not `fp8`, as before
        return f"{self.quantisation}+{weights}" if self.quantisation else weights


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """A model settled for one machine: all that decides its answers, still without its weights.

    Made by `ModelSpec.resolve`; `scorers.load.load_scorer` loads it.
    """

    spec: ModelSpec
    device: str
    """`cpu` or `cuda`."""
    weights: str
    """The arithmetic: `fp32`, `bf16`, `int8`, `fp8` or `nf4`."""
    max_batch_tokens: int | None = None
    """Padded tokens in one forward pass; None takes the scorer's measured default."""
    fingerprint: str
    """128 bits, in hexadecimal, of everything that decides the answers."""
    files: ModelState
    """The states of the model's files before they were hashed."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the answers beside the files."""
        return self.spec.settings(self.weights)

    def check_unchanged(self) -> None:
        """Compare the model's files with those that were hashed.

        Raises:
            TryAgainError: one was changed, replaced, added or removed, or a link leads elsewhere.
        """
        self.spec.check_unchanged(self.files)
