"""Promoting a model to a store's default when it passes its gates, and rolling it back."""

import json
import tempfile
from pathlib import Path

from .config import (
    DEFAULT_MODEL,
    PROMOTED_MODEL,
    EvaluateConfig,
    ModelConfig,
    PromoteConfig,
    StoreConfig,
)
from .default_model import Promotion, current_promotion, settle_model
from .engines import utc_now
from .errors import UsageError
from .evaluation import evaluate
from .models.directory import whole_name
from .planning import Progress
from .runs import no_progress
from .store import Store


def promote(config: PromoteConfig, *, progress: Progress = no_progress) -> Promotion:
    """Evaluate a model on labelled data and make it the store's default if all gates hold.

    `no-regression` compares with the default that it would replace.

    Raises:
        GateFailedError: a gate does not hold; the default stays.
        UsageError: no gate, or the name `promoted`.
        FinsentError: anything expected that prevents the evaluation.
    """
    if config.model.model == PROMOTED_MODEL:
        raise UsageError("name the model to promote: a directory, a Hub id or mini")
    if not config.gates:
        raise UsageError("a model is promoted by what it can do: give a --gate")
    compared = any(gate.strip() == "no-regression" for gate in config.gates)
    with tempfile.TemporaryDirectory() as scratch:
        result = evaluate(
            EvaluateConfig(
                data=config.data,
                output=config.output or Path(scratch),
                model=config.model,
                against=settle_model(ModelConfig(), config.store).model if compared else None,
                gates=config.gates,
                text_column=config.text_column,
                label_column=config.label_column,
                label_map=config.label_map,
                encoding=config.encoding,
                store=config.store if config.output else None,
            ),
            progress=progress,
        )
    promotion = Promotion(
        model=whole_name(config.model.model),
        model_fingerprint=result.metrics["model_fingerprint"],
        weights=result.metrics["weights"],
    )
    with Store.open(config.store) as store:
        store.insert(
            "promotions",
            {
                "promoted_at": utc_now(),
                "model": promotion.model,
                "model_fingerprint": promotion.model_fingerprint,
                "weights": promotion.weights,
                "data": str(config.data.resolve()),
                "gates": list(config.gates),
                "metrics": json.dumps(result.metrics),
            },
        )
    return promotion


def roll_back(config: StoreConfig) -> tuple[Promotion, str]:
    """Withdraw the current promotion; return it and the model that is the default now.

    Raises:
        UsageError: nothing is promoted.
    """
    with Store.open(config) as store:
        found = current_promotion(store)
        if found is None:
            raise UsageError(f"nothing is promoted in {store.path}: the default is {DEFAULT_MODEL}")
        store.connection.execute(
            """UPDATE promotions SET rolled_back_at = $1
            WHERE promoted_at = (SELECT max(promoted_at) FROM promotions
                                 WHERE rolled_back_at IS NULL)""",
            [utc_now()],
        )
        before = current_promotion(store)
    return found, before.model if before else DEFAULT_MODEL
