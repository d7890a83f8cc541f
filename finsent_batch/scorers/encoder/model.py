"""Sequence classifiers: loading them, and the mean-pooled one that `mini` is.

torch and transformers live here; the scorer and training share these models.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
from transformers.utils import logging as transformers_logging

from ...errors import ConfigError
from ...labels import LABELS
from ...models.base_weights import FROM_DISK, WEIGHTS_FROM_DISK, listed
from ...models.spec import ModelSpec
from ...optional_imports import quiet_bitsandbytes
from ..guard import loading
from ..loaded import absent_weights, check_known, check_unexpected

# Loading a small model needs no progress bar, and a library prints nothing.
transformers_logging.disable_progress_bar()


class MeanPooledBert(BertForSequenceClassification):  # type: ignore[misc]
    """BERT whose classifier reads the mean of all token states instead of [CLS]'s.

    Sentence encoders such as all-MiniLM-L6-v2 were trained with mean pooling
    (Reimers and Gurevych 2019); their [CLS] pooler was not, and starting from it
    costs accuracy.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert.pooler = None

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any
    ) -> SequenceClassifierOutput:
        """Return logits of shape (n, 3) for ids and mask of shape (n, tokens), int64."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=self.classify(states, attention_mask))

    def classify(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 3) of token states (n, tokens, hidden)."""
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean: torch.Tensor = (states * mask).sum(1) / mask.sum(1).clamp_min(1)
        logits: torch.Tensor = self.classifier(self.dropout(mean))
        return logits


def new_classifier(base: Path, pooling: str) -> tuple[Any, list[str]]:
    """Return an encoder with a head for the three labels, and the names of its new weights.

    What the base has not, or in another shape, such as the head of a five-star model, is new
    and random: an adapter must save it.

    Raises:
        ConfigError: mean pooling of something that is no BERT, or a base that cannot be loaded.
    """
    with loading(str(base)):
        config = AutoConfig.from_pretrained(base, **FROM_DISK)
    config.num_labels = len(LABELS)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: i for i, label in enumerate(LABELS)}
    if pooling == "mean" and config.model_type != "bert":
        raise ConfigError(
            f"mean pooling needs a BERT base, {base} is {config.model_type}: use --pooling cls"
        )
    kind = MeanPooledBert if pooling == "mean" else AutoModelForSequenceClassification
    with loading(str(base)):
        model, found = kind.from_pretrained(
            base,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **WEIGHTS_FROM_DISK,
        )
    return model, absent_weights(found)


def load_classifier(spec: ModelSpec, *, dtype: torch.dtype = torch.float32) -> Any:
    """Load base and adapter as one plain transformers model in evaluation mode.

    The adapter is folded into the base's weights in fp32.

    Raises:
        ConfigError: the adapter or the head does not fit the base.
    """
    if spec.adapter is None:
        check_known(spec.name, spec.base, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING)
        model, found = AutoModelForSequenceClassification.from_pretrained(
            spec.base,
            dtype=torch.float32,
            **WEIGHTS_FROM_DISK,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        if absent := absent_weights(found):
            raise ConfigError(
                f"{spec.name} lacks weights that its config.json asks for, or has them in another "
                f"shape ({listed(absent)}): it is not a trained classifier of these labels"
            )
        check_unexpected(spec.name, model, found)
    else:
        base, new = new_classifier(spec.base, spec.card.get("pooling", "cls"))
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
