"""Promote a model to a store's default when it passes its gates, and roll it back."""

import json
import logging
import tempfile
from pathlib import Path

from ..config import (
    PROMOTED_MODEL,
    EvaluateConfig,
    ModelConfig,
    PromoteConfig,
    StoreConfig,
)
from ..errors import UsageError
from ..models.directory import canonical_name
from ..models.registry import Promotion, resolve_promoted_model
from ..progress import Progress, no_progress
from ..store.store import Store, utc_now
from .evaluate import evaluate

logger = logging.getLogger(__name__)


def promote(config: PromoteConfig, *, progress: Progress = no_progress) -> Promotion:
    """Evaluate a model on labelled data and make it the store's default if all gates hold.

    `no-regression` compares with the default that it would replace.

    Raises:
        GateFailedError: a gate does not hold; the default stays.
        UsageError: no gate, or the name `promoted`.
        FinsentError: anything expected that prevents the evaluation.
    """
    if config.model.model == PROMOTED_MODEL:
        raise UsageError("name the model to promote: a directory, a Hub id, mini or mini-open")
    _check_self_contained(config.model)
    if not config.gates:
        raise UsageError("promotion needs a gate: give a --gate")
    compared = any(gate.strip() == "no-regression" for gate in config.gates)
    with tempfile.TemporaryDirectory() as scratch:
        result = evaluate(
            EvaluateConfig(
                data=config.data,
                output=config.output or Path(scratch),
                model=config.model,
                against=_default(config.store) if compared else None,
                gates=config.gates,
                format=config.format,
                store=config.store if config.output else None,
                overwrite=config.overwrite,
            ),
            progress=progress,
        )
    for warning in result.warnings:
        logger.warning("%s", warning)
    promotion = Promotion(
        model=canonical_name(config.model.model),
        model_fingerprint=result.metrics["model_fingerprint"],
        weights=result.metrics["weights"],
    )
    with Store.open(config.store) as store:
        store.insert(
            "promotions",
            {
                "promoted_at": store.after("promotions", "promoted_at", utc_now()),
                "model": promotion.model,
                "model_fingerprint": promotion.model_fingerprint,
                "weights": promotion.weights,
                "data": str(config.data.resolve()),
                "gates": list(config.gates),
                "metrics": json.dumps(result.metrics),
            },
        )
    return promotion


def _default(store: StoreConfig) -> str:
    return resolve_promoted_model(ModelConfig(), store).model


def _check_self_contained(config: ModelConfig) -> None:
    """Refuse settings of a model that would have to be given again wherever it is named.

    Raises:
        UsageError: `base`, `prompt`, `quantisation` or `model_labels` was given.
    """
    names = ("base", "prompt", "quantisation", "model_labels")
    given = [name.replace("_", "-") for name in names if getattr(config, name)]
    if given:
        options = " ".join(f"--{name} …" for name in given)
        raise UsageError(
            f"a model is promoted by its name alone: write what --{given[0]} says into its "
            f"manifest with 'finsent-batch models describe {config.model} {options} --write'"
        )
