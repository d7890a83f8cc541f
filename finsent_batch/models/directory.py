"""A model as a directory on disk: an adapter with `finsent.json`, or a plain classifier.

Nothing here loads weights or imports torch; a fully cached run needs only
what this module tells.
"""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..config import DEFAULT_MODEL, ModelConfig
from ..errors import ConfigError, MissingInputError
from ..labels import LABELS, label_index
from .base_weights import PACKAGED_BASE, base_name, from_hub, resolve_base
from .manifest import CARD_FILE, FORMAT_VERSION
from .prompts import DEFAULT_PROMPT, Prompt
from .reading import read_json
from .spec import CAUSAL, CLASSIFIER, ModelSpec
from .weight_files import check_safetensors

logger = logging.getLogger(__name__)

DEFAULT_MAX_LENGTH: Final = 512
CAUSAL_MAX_LENGTH: Final = 1024
"""Tokens of a prompt with its headline, as in the tutorial."""


def open_model(name: str, *, quantise: bool = False) -> ModelSpec:
    """Find the model a user names: `mini`, a directory, or a Hub id.

    `mini` is the embedded one wherever a command runs; a directory of that name is `./mini`.
    `quantise` is for a causal base without an adapter: score it in 4 bits.

    Raises:
        MissingInputError: no such directory, or the Hub cannot give it.
        ConfigError: it cannot score three sentiments, or not safely.
    """
    if name == DEFAULT_MODEL:
        if (Path(name) / CARD_FILE).exists():
            logger.warning("model mini is the embedded one; the folder of that name is ./mini")
        return _open_adapter(name, Path(__file__).parent / "mini")
    named = Path(name).expanduser()
    if not named.is_dir():
        if named.exists():
            raise MissingInputError(f"model {name} is a file: name the directory it lies in")
        named = from_hub(name)
    # Once: what is hashed and what is loaded must not differ by a link that is turned meanwhile.
    folder = named.resolve()
    spec = _open_folder(name, folder, quantise=quantise)
    spec = replace(spec, links=((named, folder), *spec.links))
    if spec.adapter is None:
        _ = spec.base_weights  # refused here if they are not whole
    return spec


def _open_folder(name: str, folder: Path, *, quantise: bool) -> ModelSpec:
    if (folder / CARD_FILE).exists():
        return _open_adapter(name, folder)
    if (folder / "adapter_config.json").exists():
        raise ConfigError(
            f"{name} is an adapter without {CARD_FILE}, which names its labels and base: "
            "train it with finsent-batch train"
        )
    return _open_plain(name, folder, quantise=quantise)


def canonical_name(name: str) -> str:
    """Return a model's name as it means the same in every working folder."""
    return name if name == DEFAULT_MODEL else base_name(name)


def open_configured(config: ModelConfig) -> ModelSpec:
    """Find the model that settings name; see `open_model`."""
    return open_model(config.model, quantise=config.weights == "nf4")


def _open_adapter(name: str, folder: Path) -> ModelSpec:
    card = read_json(folder / CARD_FILE)
    version = card.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ConfigError(
            f"{name}: {CARD_FILE} has format version {version!r}, this version knows "
            f"{FORMAT_VERSION}: upgrade finsent-batch"
        )
    family = card.get("family")
    if family not in (CLASSIFIER, CAUSAL):
        raise ConfigError(
            f"{name}: family {family!r} is not one this version can score: {CLASSIFIER}, {CAUSAL}"
        )
    if card.get("labels") != list(LABELS):
        raise ConfigError(f"{name}: {CARD_FILE} must list the labels {list(LABELS)} in that order")
    base, max_length, temperature = _settings(name, card)
    merged = bool(card.get("merged"))
    for required in () if merged else ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / required).exists():
            raise MissingInputError(f"model {name} lacks {required}: train it again or copy it")
    if not merged:
        check_safetensors(folder / "adapter_model.safetensors")
        _check_imports(name, folder)
    named = folder if merged else _base(name, base)
    return ModelSpec(
        name=name,
        folder=folder,
        base=named.resolve(),
        links=((named, named.resolve()),),
        adapter=None if merged else folder,
        family=family,
        max_length=max_length,
        temperature=temperature,
        prompt=Prompt.from_card(card.get("prompt"), name) if family == CAUSAL else None,
        quantisation=card.get("quantisation"),
        card=card,
    )


def _check_imports(name: str, folder: Path) -> None:
    """Refuse an adapter for which peft would import a module that its file names."""
    if read_json(folder / "adapter_config.json").get("megatron_config"):
        raise ConfigError(
            f"{name}: adapter_config.json has megatron_config, which imports code by name: "
            "train it with finsent-batch train"
        )


def _base(name: str, base: str) -> Path:
    """Return the folder of an adapter's base; an error names the adapter too."""
    try:
        return resolve_base(base)
    except ConfigError as error:
        raise ConfigError(f"{name}: {CARD_FILE} cannot be used: {error}") from None
    except MissingInputError as error:
        if base == PACKAGED_BASE:
            raise
        raise MissingInputError(f"{name}: its base {base} is not here ({error})") from None


def _settings(name: str, card: dict[str, Any]) -> tuple[str, int, float]:
    """Return base, maximum length and temperature of a model's card."""
    try:
        base, max_length = str(card["base"]["id"]), int(card["max_length"])
        temperature = float(card["temperature"])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{name}: {CARD_FILE} must name base.id, max_length and temperature: restore it"
        ) from None
    if max_length < 1 or not 0 < temperature < math.inf:
        raise ConfigError(
            f"{name}: {CARD_FILE} has max_length {max_length} and temperature {temperature}; both "
            "must be above 0"
        )
    if card.get("quantisation") not in (None, "nf4"):
        raise ConfigError(
            f"{name}: {CARD_FILE} has quantisation {card['quantisation']!r}; this version scores "
            "nf4, or null for none"
        )
    return base, max_length, temperature


def _open_plain(name: str, folder: Path, *, quantise: bool) -> ModelSpec:
    """Open a directory without `finsent.json`: a classifier, or a causal model asked as it is."""
    if not (folder / "config.json").exists():
        raise MissingInputError(f"{name} is no model directory: it has no config.json")
    config = read_json(folder / "config.json")
    architecture = (config.get("architectures") or ["?"])[0]
    if architecture.endswith("ForCausalLM"):
        return ModelSpec(
            name=name,
            folder=folder,
            base=folder,
            adapter=None,
            family=CAUSAL,
            max_length=min(CAUSAL_MAX_LENGTH, config.get("max_position_embeddings", 2048)),
            prompt=DEFAULT_PROMPT,
            quantisation="nf4" if quantise else None,
        )
    if "SequenceClassification" not in architecture:
        raise ConfigError(
            f"{name} is a {architecture}; finsent-batch scores sequence classifiers "
            "(…ForSequenceClassification) with three labels and causal models (…ForCausalLM)"
        )
    limits = [DEFAULT_MAX_LENGTH, config.get("max_position_embeddings", DEFAULT_MAX_LENGTH)]
    if (folder / "tokenizer_config.json").exists():
        limit = read_json(folder / "tokenizer_config.json").get("model_max_length")
        limits.append(int(limit) if limit else DEFAULT_MAX_LENGTH)
    return ModelSpec(
        name=name,
        folder=folder,
        base=folder,
        adapter=None,
        family=CLASSIFIER,
        label_order=_label_order(name, config.get("id2label") or {}),
        max_length=min(limits),
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
