"""A model as a directory on disk: with a manifest, or as transformers and peft save one.

Nothing here loads weights or imports torch; a fully cached run needs only
what this module tells.
"""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..config import EMBEDDED_MODELS, ModelConfig
from ..errors import ConfigError, MissingInputError, UsageError
from ..labels import LABELS
from .adapter_file import check_adapter
from .config_file import ConfigFile, tokenizer_limit
from .foreign import (
    CAUSAL_MAX_LENGTH,
    Given,
    adapter_card,
    family_by_name,
    settle_quantisation,
)
from .label_classes import PLAIN
from .locate import PACKAGED_BASE, base_name, embedded_folder, model_folder, resolve_base
from .manifest import LABEL_MAP_VERSION, MANIFEST_FILE
from .prompts import DEFAULT_PROMPT, PROMPTS, Prompt
from .reading import read_json
from .spec import CAUSAL, CLASSIFIER, ModelSpec
from .weight_files import check_safetensors

logger = logging.getLogger(__name__)

DEFAULT_MAX_LENGTH: Final = 512


def open_model(
    name: str,
    *,
    quantize: bool = False,
    base: str | None = None,
    prompt: str | None = None,
    quantisation: str | None = None,
    model_labels: tuple[tuple[str, str], ...] = (),
) -> ModelSpec:
    """Find the model a user names: `mini`, `mini-open`, a directory, or a Hub id.

    These two are embedded wherever a command runs; a directory of that name is `./mini`.
    `quantize` is for a causal base without an adapter: score it in 4 bits. `base`, `prompt`,
    `quantisation` and `model_labels` say what a directory without a manifest does not, as
    `ModelConfig` has them; the first two also replace what a manifest says.

    Raises:
        MissingInputError: no such directory, or the Hub cannot give it.
        ConfigError: it cannot score three sentiments, or not safely.
        UsageError: an option that this kind of model does not have.
    """
    given = Given(base=base, prompt=prompt, quantisation=quantisation, labels=model_labels)
    if name in EMBEDDED_MODELS:
        if (Path(name) / MANIFEST_FILE).exists():
            said = "model %s is the embedded one; the folder of that name is ./%s"
            logger.warning(said, name, name)
        return _open_folder(name, embedded_folder(name), given, quantize=quantize)
    named = model_folder(name)
    # Once: what is hashed and what is loaded must not differ by a link that is turned meanwhile.
    folder = named.resolve()
    spec = _open_folder(name, folder, given, quantize=quantize)
    spec = replace(spec, links=((named, folder), *spec.links))
    if spec.adapter is None:
        _ = spec.base_weights  # refused here if they are not whole
    return spec


def _open_folder(name: str, folder: Path, given: Given, *, quantize: bool) -> ModelSpec:
    settled = (folder / MANIFEST_FILE).exists()
    if settled:
        card = given.over(name, read_json(folder / MANIFEST_FILE))
    elif (folder / "adapter_config.json").exists():
        card = adapter_card(name, folder, given)
    else:
        return _open_whole(name, folder, given, quantize=quantize)
    spec = _open_card(name, folder, card, given)
    return spec if settled else replace(spec, assumed_prompt=given.prompt is None)


def canonical_name(name: str) -> str:
    """Return a model's name as it means the same in every working folder."""
    return name if name in EMBEDDED_MODELS else base_name(name)


def portable(config: ModelConfig) -> ModelConfig:
    """Return settings whose paths mean the same in every working folder."""
    prompt = config.prompt
    if prompt is not None and prompt not in PROMPTS:
        prompt = str(Path(prompt).expanduser().resolve())
    base = None if config.base is None else base_name(config.base)
    return replace(config, model=canonical_name(config.model), base=base, prompt=prompt)


def open_configured(config: ModelConfig) -> ModelSpec:
    """Find the model that settings name; see `open_model`."""
    return open_model(
        config.model,
        quantize=config.weights == "nf4",
        base=config.base,
        prompt=config.prompt,
        quantisation=config.quantisation,
        model_labels=config.model_labels,
    )


def _open_card(name: str, folder: Path, card: dict[str, Any], given: Given) -> ModelSpec:
    """Open an adapter, or a merged model, of which `card` says what it is."""
    family = _family_of(name, card)
    base, max_length, temperature = _settings(name, card)
    merged = bool(card.get("merged"))
    for required in () if merged else ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / required).exists():
            raise MissingInputError(f"model {name} lacks {required}: train it again or copy it")
    if not merged:
        check_safetensors(folder / "adapter_model.safetensors")
        check_adapter(name, folder)
    named = folder if merged else _base(name, base, fetch=given.base is not None)
    weights = named.resolve()
    config = ConfigFile(weights, name if merged else None)
    return ModelSpec(
        name=name,
        folder=folder,
        base=weights,
        links=((named, weights),),
        adapter=None if merged else folder,
        family=family,
        max_length=max_length,
        temperature=temperature,
        prompt=Prompt.from_card(card.get("prompt"), name) if family == CAUSAL else None,
        quantisation=settle_quantisation(name, config, family, card.get("quantisation")),
        label_classes=given.classes(name, config, card) if family == CLASSIFIER else PLAIN,
        manifest=card,
    )


def _family_of(name: str, card: dict[str, Any]) -> str:
    version = card.get("format_version")
    if not isinstance(version, int) or version > LABEL_MAP_VERSION:
        raise ConfigError(
            f"{name}: {MANIFEST_FILE} has format version {version!r}, this version knows "
            f"{LABEL_MAP_VERSION}: upgrade finsent-batch"
        )
    family = card.get("family")
    if family not in (CLASSIFIER, CAUSAL):
        raise ConfigError(
            f"{name}: family {family!r} is not one this version can score: {CLASSIFIER}, {CAUSAL}"
        )
    if card.get("labels") != list(LABELS):
        raise ConfigError(
            f"{name}: {MANIFEST_FILE} must list the labels {list(LABELS)} in that order"
        )
    return str(family)


def _base(name: str, base: str, *, fetch: bool) -> Path:
    """Return the folder of an adapter's base; an error names the adapter too."""
    try:
        return resolve_base(base, fetch=fetch)
    except ConfigError as error:
        raise ConfigError(f"{name}: its base cannot be used: {error}") from None
    except MissingInputError as error:
        if base == PACKAGED_BASE:
            raise
        raise MissingInputError(
            f"{name}: its base {base} was not found ({error}); if it lies elsewhere, name it with "
            "--base DIR"
        ) from None


def _settings(name: str, card: dict[str, Any]) -> tuple[str, int, float]:
    """Return base, maximum length and temperature of a model's manifest."""
    try:
        base, max_length = str(card["base"]["id"]), int(card["max_length"])
        temperature = float(card["temperature"])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{name}: {MANIFEST_FILE} must name base.id, max_length and temperature: restore it"
        ) from None
    if max_length < 1 or not 0 < temperature < math.inf:
        raise ConfigError(
            f"{name}: {MANIFEST_FILE} has max_length {max_length} and temperature {temperature}; "
            "both must be above 0"
        )
    if card.get("quantisation") not in (None, "nf4"):
        raise ConfigError(
            f"{name}: {MANIFEST_FILE} has quantisation {card['quantisation']!r}; this version "
            "scores nf4, or null for none"
        )
    return base, max_length, temperature


def _open_whole(name: str, folder: Path, given: Given, *, quantize: bool) -> ModelSpec:
    """Open a directory without a manifest: a classifier, or a causal model asked as it is."""
    if not (folder / "config.json").exists():
        raise MissingInputError(f"{name} is not a model directory: it has no config.json")
    config = ConfigFile(folder, name)
    family = family_by_name(name, folder, config)
    if given.base is not None:
        raise UsageError(f"--base is for an adapter: {name} is a whole model")
    if family == CAUSAL:
        given.refuse_for_causal(name)
        wanted = "nf4" if quantize or given.quantisation == "nf4" else None
        return ModelSpec(
            name=name,
            folder=folder,
            base=folder,
            adapter=None,
            family=CAUSAL,
            max_length=min(CAUSAL_MAX_LENGTH, config.positions or CAUSAL_MAX_LENGTH),
            prompt=given.named_prompt or DEFAULT_PROMPT,
            assumed_prompt=given.prompt is None,
            quantisation=settle_quantisation(name, config, family, wanted),
        )
    given.refuse_for_classifier(name)
    settle_quantisation(name, config, family, None)
    limits = (DEFAULT_MAX_LENGTH, config.positions, tokenizer_limit(folder))
    return ModelSpec(
        name=name,
        folder=folder,
        base=folder,
        adapter=None,
        family=CLASSIFIER,
        label_classes=given.classes(name, config),
        max_length=min(limit for limit in limits if limit),
    )
