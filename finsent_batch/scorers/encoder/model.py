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
from transformers.utils import logging as transformers_logging

from ...errors import ConfigError
from ...labels import LABELS
from ...models.base_weights import FROM_DISK, WEIGHTS_FROM_DISK
from ...models.spec import ModelSpec
from ...optional_imports import quiet_bitsandbytes

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


def new_classifier(base: Path, pooling: str) -> Any:
    """Return an encoder with a fresh head for the three labels.

    Raises:
        ConfigError: mean pooling of something that is no BERT.
    """
    config = AutoConfig.from_pretrained(base, **FROM_DISK)
    config.num_labels = len(LABELS)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: i for i, label in enumerate(LABELS)}
    if pooling == "mean" and config.model_type != "bert":
        raise ConfigError(
            f"mean pooling needs a BERT base, {base} is {config.model_type}: use --pooling cls"
        )
    kind = MeanPooledBert if pooling == "mean" else AutoModelForSequenceClassification
    return kind.from_pretrained(base, config=config, dtype=torch.float32, **WEIGHTS_FROM_DISK)


def load_classifier(spec: ModelSpec, *, dtype: torch.dtype = torch.float32) -> Any:
    """Load base and adapter as one plain transformers model in evaluation mode.

    The adapter is folded into the base's weights in fp32.

    Raises:
        ConfigError: the adapter or the head does not fit the base.
    """
    if spec.adapter is None:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            spec.base,
            dtype=torch.float32,
            **WEIGHTS_FROM_DISK,
            output_loading_info=True,
        )
        if info["missing_keys"]:
            raise ConfigError(
                f"{spec.name} lacks weights ({sorted(info['missing_keys'])[0]} and "
                f"{len(info['missing_keys']) - 1} more): it is no trained classifier"
            )
    else:
        model = _with_adapter(spec, new_classifier(spec.base, spec.card.get("pooling", "cls")))
    return model.to(dtype).eval()


def _with_adapter(spec: ModelSpec, model: Any) -> Any:
    quiet_bitsandbytes()  # peft imports it
    from peft import PeftModel, get_peft_model_state_dict

    assert spec.adapter is not None
    try:
        adapted = PeftModel.from_pretrained(model, str(spec.adapter), local_files_only=True)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{spec.name}: the adapter does not fit the base {spec.base_id}: {reason}"
        ) from None
    with safe_open(spec.adapter / "adapter_model.safetensors", framework="pt") as file:
        differing = set(file.keys()) ^ set(get_peft_model_state_dict(adapted))
    if differing:
        raise ConfigError(
            f"{spec.name}: the adapter does not fit the base {spec.base_id}: "
            f"{sorted(differing)[0]} and {len(differing) - 1} more keys differ"
        )
    return adapted.merge_and_unload()
