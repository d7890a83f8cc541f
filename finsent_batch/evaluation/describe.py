"""`models describe`: what a model is to finsent-batch, before it scores anything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config import ModelConfig
from ..errors import CannotCreateError, ConfigError
from ..hardware import resolve_device
from ..labels import LABELS
from ..models.config_file import FILE, ConfigFile
from ..models.directory import open_configured
from ..models.label_classes import OPTION, said, to_card
from ..models.license import license_of
from ..models.manifest import FORMAT_VERSION, LABEL_MAP_VERSION, MANIFEST_FILE, write_manifest
from ..models.prompts import PROMPTS
from ..models.spec import CAUSAL, ModelSpec

_EXAMPLE = "Nordkap lifts its 2026 guidance"


def describe(config: ModelConfig) -> list[tuple[str, str]]:
    """Return what is known of a model, as pairs of a name and what was found.

    Of a causal model, that is also its prompt, the tokens where the headline begins and where
    the answer does, and the tokens that are compared.

    Raises:
        FinsentError: the model cannot be scored with.
    """
    spec = open_configured(config)
    return list(_facts(spec, config))


def _facts(spec: ModelSpec, config: ModelConfig) -> Iterator[tuple[str, str]]:
    device = resolve_device(config.device)
    yield "model", spec.name
    yield "directory", str(spec.folder)
    yield "family", spec.family
    yield "base", f"{spec.base_id} in {spec.base}" if spec.adapter else "the directory itself"
    yield "manifest", MANIFEST_FILE if (spec.folder / MANIFEST_FILE).exists() else "none"
    yield "license", license_of(spec.folder) or "its card names none"
    yield "runs as", f"{spec.weights_for(config.weights, device)} on {device}"
    yield "tokens read", f"{spec.max_length} at most"
    if spec.family != CAUSAL:
        yield "outputs", said(_outputs(spec), spec.label_classes)
        return
    from ..scorers.causal.prompt_tokens import load_prompt_tokens

    assert spec.prompt is not None
    tokens = load_prompt_tokens(spec)
    begins, ends = tokens.describe_seam(_EXAMPLE)
    yield "layers", "4 bits (nf4)" if spec.quantisation else "as stored"
    yield "prompt", json.dumps(spec.prompt.template, ensure_ascii=False)
    yield "prompt's name", _name(spec)
    yield "shared tokens", str(len(tokens.prefix))
    yield "headline begins", _pieces(begins)
    yield "prompt ends", _pieces(ends)
    yield "label words", tokens.describe_labels()


def _outputs(spec: ModelSpec) -> list[str]:
    """Return what a classifier's outputs are called; those of a trained adapter are `LABELS`."""
    return list(LABELS) if spec.adapter else ConfigFile(spec.base, spec.name).outputs


def _name(spec: ModelSpec) -> str:
    """Return which of `PROMPTS` a model's prompt is, and whether anything says so."""
    name = next((name for name, known in PROMPTS.items() if known == spec.prompt), "its own")
    return f"{name}, assumed: nothing here names it" if spec.assumed_prompt else name


def _pieces(pieces: list[str]) -> str:
    return " ".join(json.dumps(piece, ensure_ascii=False) for piece in pieces)


def adopt(config: ModelConfig) -> Path:
    """Write the manifest of a model that has none, as its files and the options say.

    Returns the file written.

    Raises:
        CannotCreateError: there is a manifest, or it cannot be written.
        ConfigError: the model is a classifier whose own names say what its outputs are.
        FinsentError: it cannot be scored with.
    """
    spec = open_configured(config)
    file = spec.folder / MANIFEST_FILE
    if file.exists():
        raise CannotCreateError(f"{spec.name} has a {MANIFEST_FILE} already: edit or remove it")
    card = spec.manifest or _whole_card(spec, given_labels=bool(config.model_labels))
    describe(config)  # its tokens must do, too
    write_manifest(spec.folder, card)
    return file


def _whole_card(spec: ModelSpec, *, given_labels: bool) -> dict[str, Any]:
    """Return the manifest of a whole model: a causal one's prompt, a classifier's outputs."""
    card = {
        "format_version": FORMAT_VERSION,
        "family": spec.family,
        "merged": True,
        "base": {"id": str(spec.folder.resolve())},
        "quantisation": spec.quantisation,
        "labels": list(LABELS),
        "max_length": spec.max_length,
        "temperature": spec.temperature,
    }
    if spec.prompt is not None:
        return card | {"prompt": spec.prompt.to_card()}
    config = ConfigFile(spec.folder, spec.name)
    if not given_labels:
        raise ConfigError(
            f"{spec.name} is a classifier whose {FILE} says what its outputs are: there is "
            f"nothing to write, unless {OPTION} says otherwise"
        )
    return card | {
        "format_version": LABEL_MAP_VERSION,
        "label_map": to_card(spec.label_classes, len(config.outputs)),
    }
