"""Load sequence classifiers, among them the mean-pooled one that `mini` is.

torch and transformers live here; the scorer and training share these models.
"""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
from transformers.utils import logging as transformers_logging

from ...errors import ConfigError
from ...labels import LABELS
from ...models.base_weights import FROM_DISK, WEIGHTS_FROM_DISK, listed
from ...models.config_file import ConfigFile
from ...models.spec import ModelSpec
from ...optional_imports import quiet_bitsandbytes, quiet_libraries
from ..guard import loading
from ..loaded import absent_weights, check_known, check_unexpected

# Loading a small model needs no progress bar, and a library prints nothing.
transformers_logging.disable_progress_bar()


ENCODERS: Final = (
    "bert", "roberta", "xlm-roberta", "camembert", "mpnet", "deberta-v2", "modernbert",
    "distilbert", "electra",
)  # fmt: skip
"""Kinds of encoders whose token states can be averaged, by `model_type` of their config.json."""


class _MeanPooling:
    """A classifier that reads the mean of all token states instead of the first token's.

    Sentence encoders such as all-MiniLM-L6-v2 were trained with mean pooling
    (Reimers and Gurevych 2019); what reads their first token was not, and starting from it
    costs accuracy. Mixed into a classifier of transformers, whose encoder it keeps under
    its name.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        # Heads that read the first token, by the names that transformers gives them.
        for module in (self, self.base_model):  # type: ignore[attr-defined]
            for name in ("pooler", "head"):
                if getattr(module, name, None) is not None:
                    setattr(module, name, None)
        drop = getattr(config, "classifier_dropout", None)
        self.dropout = torch.nn.Dropout(_hidden_dropout(config) if drop is None else drop)
        self.classifier = torch.nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any
    ) -> SequenceClassifierOutput:
        """Return logits of shape (n, 3) for ids and mask of shape (n, tokens), int64."""
        output = self.base_model(  # type: ignore[attr-defined]
            input_ids=input_ids, attention_mask=attention_mask
        )
        return SequenceClassifierOutput(logits=self.classify(output[0], attention_mask))

    def classify(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 3) of token states (n, tokens, hidden)."""
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean: torch.Tensor = (states * mask).sum(1) / mask.sum(1).clamp_min(1)
        logits: torch.Tensor = self.classifier(self.dropout(mean))
        return logits


def _hidden_dropout(config: Any) -> float:
    return float(getattr(config, "hidden_dropout_prob", getattr(config, "dropout", 0.1)))


def _classifier_class(config: Any, pooling: str) -> Any:
    """Return the class of a classifier for what an encoder's `config.json` says.

    Raises:
        ConfigError: mean pooling of something that is no encoder.
    """
    if pooling != "mean":
        return AutoModelForSequenceClassification
    if config.model_type not in ENCODERS:
        raise ConfigError(
            f"mean pooling needs an encoder ({', '.join(ENCODERS)}), and the base is "
            f"{config.model_type}: use --pooling cls"
        )
    kind = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    return type(f"MeanPooled{kind.__name__}", (_MeanPooling, kind), {})


def new_classifier(
    base: Path, pooling: str, *, dropout: float | None = None
) -> tuple[Any, list[str]]:
    """Return an encoder with a head for the three labels, and the names of its new weights.

    With `dropout` that is its probability everywhere, for this training alone: the model's config
    keeps what the base's says.

    What the base has not, or in another shape, such as the head of a five-star model, is new
    and random: an adapter must save it.

    Raises:
        ConfigError: mean pooling of something that is no encoder, or a base that cannot be loaded.
    """
    with loading(str(base)):
        config = AutoConfig.from_pretrained(base, **FROM_DISK)
    config.num_labels = len(LABELS)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: i for i, label in enumerate(LABELS)}
    usual = {} if dropout is None else _set_dropout(config, dropout)
    kind = _classifier_class(config, pooling)
    with loading(str(base)), quiet_libraries():  # the new weights are returned, not reported
        model, found = kind.from_pretrained(
            base,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **WEIGHTS_FROM_DISK,
        )
    for name, value in usual.items():  # its layers have read them
        setattr(model.config, name, value)
    return model, absent_weights(found)


def _set_dropout(config: Any, dropout: float) -> dict[str, float | None]:
    """Set every probability of dropout in a model's config, whatever the family calls it.

    Returns what they were.
    """
    usual = {
        name: value
        for name, value in vars(config).items()
        if "dropout" in name and (value is None or type(value) in (int, float))
    }
    for name in usual:
        setattr(config, name, dropout)
    return usual


def load_classifier(spec: ModelSpec, *, dtype: torch.dtype = torch.float32) -> Any:
    """Load base and adapter as one plain transformers model in evaluation mode.

    The adapter is folded into the base's weights in fp32.

    Raises:
        ConfigError: the adapter or the head does not fit the base.
    """
    if spec.adapter is None:
        check_known(spec.name, spec.base, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING)
        config = AutoConfig.from_pretrained(spec.base, **FROM_DISK)
        kind = _classifier_class(config, spec.manifest.get("pooling", "cls"))
        model, found = kind.from_pretrained(
            spec.base,
            dtype=torch.float32,
            **WEIGHTS_FROM_DISK,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        if absent := absent_weights(found):
            named = ConfigFile(spec.base, spec.name).labels
            raise ConfigError(
                f"{spec.name} lacks weights that its config.json asks for, or has them in another "
                f"shape ({listed(absent)}): it is not a trained classifier of these labels"
                + ("" if named else "; without an id2label it has two: add one if it has more")
            )
        check_unexpected(spec.name, model, found)
    else:
        base, new = new_classifier(spec.base, spec.manifest.get("pooling", "cls"))
        model = _with_adapter(spec, base, new)
    return model.to(dtype).eval()


def _with_adapter(spec: ModelSpec, model: Any, new: list[str]) -> Any:
    """Fold the adapter in; it must bring all that is `new` in the base."""
    quiet_bitsandbytes()  # peft imports it
    from peft import PeftModel, get_peft_model_state_dict

    assert spec.adapter is not None
    with loading(f"{spec.name}: the adapter does not fit the base {spec.base_id}: it"):
        adapted = PeftModel.from_pretrained(model, str(spec.adapter), local_files_only=True)
    with safe_open(spec.adapter / "adapter_model.safetensors", framework="pt") as file:
        brought = set(file.keys())
    if differing := sorted(brought ^ set(get_peft_model_state_dict(adapted))):
        raise ConfigError(
            f"{spec.name}: the adapter does not fit the base {spec.base_id}: "
            f"{differing[0]} and {len(differing) - 1} more keys differ"
        )
    random = [name for name in new if f"base_model.model.{name}" not in brought]
    if random:
        raise ConfigError(
            f"{spec.name}: neither the adapter nor the base {spec.base_id} has {listed(random)}, "
            "which would be random: train the adapter again"
        )
    return adapted.merge_and_unload()
