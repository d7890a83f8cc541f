"""Models that other programs saved: what they do not say of themselves, and options that do."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError, MissingInputError, UsageError
from ..labels import LABELS
from .adapter_file import ADAPTER_FILE
from .base_weights import pickled_files, pickled_only, weight_files
from .config_file import DEQUANTIZED, FILE, ConfigFile
from .label_classes import OPTION, PLAIN, LabelClasses
from .locate import base_name, resolve_base
from .manifest import FORMAT_VERSION, MANIFEST_FILE
from .prompts import DEFAULT_PROMPT, Prompt, load_prompt
from .reading import read_json
from .spec import CAUSAL, CLASSIFIER

CAUSAL_MAX_LENGTH: Final = 1024
"""Tokens of a prompt with its headline, as in the tutorial."""
QUANTISATIONS: Final = ("none", "nf4")
_BITSANDBYTES: Final = ("bitsandbytes 4-bit", "bitsandbytes 8-bit")
# Heads of other tasks than these two; what else there is, transformers says when it loads it.
_OTHER_HEADS = (
    "ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice",
    "ForPreTraining", "ForNextSentencePrediction", "ForImageClassification", "Model",
)  # fmt: skip
_CLASSIFIER_HEADS = ("classifier.", "score.", "logits_proj.", "classification_head.")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What `--base`, `--prompt`, `--quantisation` and `--model-labels` say of a model."""

    base: str | None = None
    prompt: str | None = None
    quantisation: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @cached_property
    def named_prompt(self) -> Prompt | None:
        """The prompt that was given, if one was."""
        return None if self.prompt is None else load_prompt(self.prompt)

    def over(self, name: str, card: dict[str, Any]) -> dict[str, Any]:
        """Return a manifest's contents with base and prompt replaced where they were given.

        Raises:
            UsageError: another quantisation than the manifest's, or an option for a classifier.
        """
        if card.get("family") == CLASSIFIER:
            self.refuse_for_classifier(name)
        if self.labels and not (card.get("family") == CLASSIFIER and card.get("merged")):
            raise UsageError(
                f"{OPTION} is for classifiers of other programs: the manifest of {name} says what "
                "its answers mean; leave the option out"
            )
        stated = card.get("quantisation") or "none"
        if self.quantisation not in (None, stated):
            raise UsageError(
                f"--quantisation {self.quantisation}: the manifest of {name} says {stated}, which "
                "its adapter was trained on; leave the option out"
            )
        if self.base is not None:
            if card.get("merged"):
                raise UsageError(f"--base is for an adapter: {name} is a merged model")
            known = card.get("base")
            kept = known if isinstance(known, dict) else {}
            card = {**card, "base": {**kept, "id": base_name(self.base)}}
        if self.named_prompt is not None:
            card = {**card, "prompt": self.named_prompt.to_card()}
            card.pop("label_token_ids", None)
        return card

    def refuse_for_classifier(self, name: str) -> None:
        """Refuse options that a sequence classifier does not have."""
        for option, value in (("prompt", self.prompt), ("quantisation", self.quantisation)):
            if value is not None:
                raise UsageError(f"--{option} is for causal models: {name} is a classifier")

    def refuse_for_causal(self, name: str) -> None:
        """Refuse an option that a causal model does not have."""
        if self.labels:
            raise UsageError(
                f"{OPTION} is for classifiers: {name} is a causal model, whose label words stand "
                "in its prompt (--prompt)"
            )

    def classes(
        self, name: str, config: ConfigFile, card: dict[str, Any] | None = None
    ) -> LabelClasses:
        """Return which outputs of a classifier make up each label; see `label_classes`.

        Raises:
            ConfigError: what its files say of them does not do.
            UsageError: what was given does not.
        """
        if self.labels or card is None:
            return config.label_classes(self.labels)
        kept = card.get("label_map")
        if kept is None:
            return PLAIN
        try:
            return config.label_classes(tuple((str(k), str(v)) for k, v in kept.items()))
        except (AttributeError, UsageError) as error:
            raise ConfigError(
                f"{name}: label_map in its {MANIFEST_FILE} does not fit its {FILE} ({error}): "
                "write it again with 'finsent-batch models describe'"
            ) from None


def adapter_card(name: str, folder: Path, given: Given) -> dict[str, Any]:
    """Return what the manifest of a plain peft adapter would say, by its files and the options.

    Asked is the tutorial's prompt unless another was given.

    Raises:
        ConfigError: it is not an adapter of a causal model, or names no base.
        MissingInputError: its weights or its base are not there.
    """
    given.refuse_for_causal(name)
    config = read_json(folder / ADAPTER_FILE)
    if (folder / "config.json").exists() and any(folder.glob("model*.safetensors")):
        raise ConfigError(
            f"{name} holds a whole model and an adapter ({ADAPTER_FILE}): which of them is meant? "
            "Move the files of one into another directory"
        )
    task = config.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        raise ConfigError(
            f"{name} is an adapter for {task}, without a {MANIFEST_FILE} that says what its "
            "outputs mean: fold it into its base with peft (merge_and_unload, save_pretrained), "
            "set id2label in the config.json and name that directory"
        )
    if not (folder / "adapter_model.safetensors").exists():
        if pickled_files(folder):
            raise pickled_only(name)
        raise MissingInputError(f"{name} lacks adapter_model.safetensors: copy it there")
    base = given.base or config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{name}: {ADAPTER_FILE} names no base: name it with --base DIR")
    prompt = given.named_prompt or DEFAULT_PROMPT
    return {
        "format_version": FORMAT_VERSION,
        "family": CAUSAL,
        "base": {"id": base_name(base)},
        "quantisation": None if given.quantisation in (None, "none") else given.quantisation,
        "prompt": prompt.to_card(),
        "labels": list(LABELS),
        "max_length": min(
            CAUSAL_MAX_LENGTH,
            _positions(name, base, fetch=given.base is not None) or CAUSAL_MAX_LENGTH,
        ),
        "temperature": 1.0,
    }


def _positions(name: str, base: str, *, fetch: bool) -> int | None:
    """Return how many tokens an adapter's base reads; None where it is not here to be asked.

    Raises:
        ConfigError: the base is an adapter itself.
    """
    try:
        folder = resolve_base(base, fetch=fetch)
    except MissingInputError:
        return None  # said, with the adapter's name, when it is opened
    if (folder / ADAPTER_FILE).exists() and not (folder / FILE).exists():
        raise ConfigError(
            f"{name}: its base {base} is an adapter too: fold that one into its own base with "
            f"'finsent-batch merge {base} -o DIR', and name it with --base DIR"
        )
    return ConfigFile(folder).positions


def settle_quantisation(
    name: str, config: ConfigFile, family: str, wanted: str | None
) -> str | None:
    """Return `nf4` where a model's layers are in 4 bits, stored so or as `wanted`; else None.

    Raises:
        ConfigError: the weights are stored in a quantisation that is not read here, or in
            another than the one that is wanted.
    """
    stored = config.quantisation
    if stored is None:
        return wanted
    if wanted is not None and stored != _BITSANDBYTES[0]:
        raise ConfigError(
            f"{name}: its weights are stored in {stored}, they cannot be put into {wanted} as "
            "well: leave out --weights or --quantisation nf4, or name the original model"
        )
    if family == CAUSAL and stored in (*DEQUANTIZED, *_BITSANDBYTES):
        return "nf4" if stored == _BITSANDBYTES[0] else None
    readable = "16 or 32 bits"
    if family == CAUSAL:
        readable += f", or in {', '.join((*DEQUANTIZED, *_BITSANDBYTES))}"
    raise ConfigError(
        f"{name}: its weights are stored in {stored}, which is not read here: name the model that "
        f"it was made from, or a copy in {readable}"
    )


def family_by_name(name: str, folder: Path, config: ConfigFile) -> str:
    """Tell a classifier from a causal model by its architecture's name, or by its weights."""
    architecture = config.architecture
    if "SequenceClassification" in architecture:
        return CLASSIFIER
    if architecture.endswith(_OTHER_HEADS) and not architecture.endswith("LMHeadModel"):
        raise ConfigError(
            f"{name} is a {architecture}; finsent-batch scores sequence classifiers "
            "(…ForSequenceClassification) with three labels and causal models (…ForCausalLM)"
        )
    if not architecture and has_classifier_head(folder):
        return CLASSIFIER
    return CAUSAL


def has_classifier_head(folder: Path) -> bool:
    """Return whether a folder's weights have a sequence classifier's head, by their names."""
    from safetensors import safe_open

    for file in weight_files(folder):
        with safe_open(file, framework="np") as opened:
            if any(key.startswith(_CLASSIFIER_HEADS) for key in opened.keys()):  # noqa: SIM118
                return True
    return False
