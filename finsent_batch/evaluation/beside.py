"""Open several models whose settings were given once, for all of them."""

from collections.abc import Sequence
from dataclasses import replace

from ..config import ModelConfig
from ..errors import ConfigError, UsageError
from ..models.directory import open_configured
from ..models.spec import ModelSpec


def open_both(configs: Sequence[ModelConfig]) -> list[ModelSpec]:
    """Open models that are compared; see `open_beside`.

    Raises:
        UsageError: `model_labels` was given, and every model's own names say what it would.
        FinsentError: as `open_model`.
    """
    specs = [open_beside(config) for config in configs]
    asked = [config for config in configs if config.model_labels]
    if asked and all(names_do(config) for config in asked):
        raise UsageError(
            "--model-labels: the models' own names say what their outputs are: leave it out, or "
            "write it into a model's directory with 'finsent-batch models describe … --write'"
        )
    return specs


def open_beside(config: ModelConfig) -> ModelSpec:
    """Find a model that settings meant for another one apply to as well, where they can.

    `base`, `prompt`, `quantisation` and `model_labels` are for models that do not say so
    themselves: one of several models on the same headlines may have a manifest, names that
    tell its labels, or be of the other family.

    Raises:
        FinsentError: as `open_model`.
    """
    if config.model_labels and names_do(config):
        config = replace(config, model_labels=())
    causal = replace(config, model_labels=())
    classifier = replace(config, base=None, prompt=None, quantisation=None)
    bare = replace(classifier, model_labels=())
    for attempt in dict.fromkeys((config, causal, classifier)):
        if attempt != bare:
            try:
                return open_configured(attempt)
            except UsageError:
                continue
    return open_configured(bare)


def names_do(config: ModelConfig) -> bool:
    """Return whether a model can be opened without `model_labels`."""
    bare = replace(config, base=None, prompt=None, quantisation=None, model_labels=())
    try:
        open_configured(bare)
    except (ConfigError, UsageError):
        return False
    return True
