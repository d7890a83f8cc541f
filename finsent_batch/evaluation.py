"""The story of `evaluate`: a model against labelled data, alone or beside another."""

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from .config import EvaluateConfig, ModelConfig
from .default_model import settle_model
from .engines import utc_now
from .errors import BadDataError, CannotCreateError, FinsentError, GateFailedError, UsageError
from .labelled import LabelledFormat, read_labelled
from .labels import LABELS
from .metrics import MISSING, Floats, Ints, evaluate_predictions, mcnemar, predict
from .model_card import add_evaluation
from .models.directory import open_configured
from .models.spec import CAUSAL, ModelSpec
from .planning import Progress
from .predictions import predict_headlines
from .runs import no_progress
from .store import Store
from .views import refresh_views

_GATE = re.compile(r"\s*([a-z_0-9.]+)\s*(>=|<=|>|<)\s*([0-9.]+)\s*")
NO_REGRESSION: Final = "no-regression"
BASE: Final = "base"
"""What `against` calls the base of a causal adapter."""


@dataclass(kw_only=True)
class Evaluation:
    """What `evaluate` found; `against` and `comparison` only beside another model."""

    metrics: dict[str, Any]
    against: dict[str, Any] | None = None
    comparison: dict[str, float] | None = None
    warnings: list[str] = field(default_factory=list)


def evaluate(config: EvaluateConfig, *, progress: Progress = no_progress) -> Evaluation:
    """Score labelled data, write `metrics.json` and `predictions.parquet`, then apply the gates.

    Headlines go through the scorer that `score` uses, in the same normal form.

    Raises:
        GateFailedError: after everything is written, if a gate does not hold.
        FinsentError: anything expected that prevents it.
    """
    gates = [parse_gate(text) for text in config.gates]
    if any(gate == NO_REGRESSION for gate in gates) and config.against is None:
        raise UsageError("--gate no-regression compares with another model: name it --against")
    config = _settled(config)
    how = LabelledFormat(
        text_column=config.text_column,
        label_column=config.label_column,
        label_map=config.label_map,
        encoding=config.encoding,
    )
    frame = read_labelled(config.data, how)
    if not frame.height:
        raise BadDataError(f"{config.data} has no rows: there is nothing to measure")
    truth = np.array([LABELS.index(label) for label in frame["label"]], dtype=np.int64)
    _create(config.output)
    spec = open_configured(config.model)
    result, probabilities = _one(config.model, spec, frame, truth, progress)
    evaluation = Evaluation(metrics=result)
    columns = _prediction_columns(probabilities, "")
    if config.against is not None:
        other_spec = _against(config, spec)
        evaluation.against, other = _one(config.model, other_spec, frame, truth, progress)
        evaluation.comparison = mcnemar(truth, predict(probabilities), predict(other))
        columns += _prediction_columns(other, "against_")
    _write(config, evaluation, frame, columns)
    add_evaluation(spec, config.data, evaluation.metrics)
    _record(config, evaluation)
    _apply(gates, evaluation)
    return evaluation


def _settled(config: EvaluateConfig) -> EvaluateConfig:
    """Say which model `promoted` is, before anything is written."""
    against = config.against
    if against is not None:
        against = settle_model(replace(config.model, model=against), config.store).model
    return replace(config, model=settle_model(config.model, config.store), against=against)


def _create(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateError(f"cannot create {folder} ({error.strerror})") from None


def _against(config: EvaluateConfig, spec: ModelSpec) -> ModelSpec:
    """Return the other model; `base` is the first one's, in the same quantisation."""
    assert config.against is not None
    if config.against != BASE:
        return open_configured(replace(config.model, model=config.against))
    if spec.family != CAUSAL or spec.adapter is None:
        raise UsageError(f"--against base: {spec.name} is no adapter of a causal model")
    return replace(spec, name=spec.base_id, adapter=None, temperature=1.0, card={})


def _one(
    config: ModelConfig, spec: ModelSpec, frame: pl.DataFrame, truth: Ints, progress: Progress
) -> tuple[dict[str, Any], Floats]:
    found = predict_headlines(config, spec, frame["headline"].to_list(), progress)
    metrics = evaluate_predictions(truth, found.probabilities)
    metrics |= {"model": found.model, "model_fingerprint": found.model_fingerprint}
    return metrics | {"weights": found.weights}, found.probabilities


def _prediction_columns(probabilities: Floats, prefix: str) -> list[pl.Series]:
    predicted = [None if i == MISSING else LABELS[i] for i in predict(probabilities)]
    columns = [pl.Series(f"{prefix}sentiment", predicted, dtype=pl.String)]
    for i, label in enumerate(LABELS):
        values = pl.Series(f"{prefix}p_{label}", probabilities[:, i])
        columns.append(values.fill_nan(None))
    return columns


def _write(
    config: EvaluateConfig, evaluation: Evaluation, frame: pl.DataFrame, columns: list[pl.Series]
) -> None:
    report = {**evaluation.metrics, "data": str(config.data)}
    if evaluation.against is not None:
        report |= {"against": evaluation.against, "mcnemar": evaluation.comparison}
    try:
        text = json.dumps(report, indent=2, ensure_ascii=False)
        (config.output / "metrics.json").write_text(text + "\n", "utf-8")
        predictions = frame.with_columns(columns)
        predictions.write_parquet(config.output / "predictions.parquet")
        predictions.write_csv(config.output / "predictions.csv")
    except PermissionError as error:
        raise CannotCreateError(f"cannot write {config.output} ({error.strerror})") from None


def _record(config: EvaluateConfig, evaluation: Evaluation) -> None:
    """Note the figures in the store; a locked store must not cost the evaluation."""
    if config.store is None:
        return
    metrics = evaluation.metrics
    predictions = {"predictions": str((config.output / "predictions.parquet").resolve())}
    try:
        with Store.open(config.store) as store:
            store.insert(
                "evaluations",
                {
                    "evaluated_at": utc_now(),
                    "model": metrics["model"],
                    "model_fingerprint": metrics["model_fingerprint"],
                    "data": str(config.data.resolve()),
                    **{k: metrics[k] for k in ("n", "accuracy", "macro_f1", "weighted_f1", "ece")},
                    "metrics": json.dumps(metrics | predictions),
                },
            )
            refresh_views(store)
    except FinsentError as error:
        evaluation.warnings.append(f"not recorded in the store: {error}")


Gate = str | tuple[str, str, float]


def parse_gate(text: str) -> Gate:
    """Return a gate expression parsed: `no-regression`, or metric, comparison and bound.

    Raises:
        UsageError: it does not parse.
    """
    if text.strip() == NO_REGRESSION:
        return NO_REGRESSION
    match = _GATE.fullmatch(text)
    if not match:
        raise UsageError(
            f"--gate {text!r}: write METRIC>=NUMBER (also <=, >, <; metrics: accuracy, macro_f1, "
            "weighted_f1, ece, per_class.LABEL.recall …) or no-regression"
        )
    return match[1], match[2], float(match[3])


def _apply(gates: list[Gate], evaluation: Evaluation) -> None:
    failed: list[str] = []
    for gate in gates:
        if isinstance(gate, str):
            assert evaluation.against is not None
            mine, theirs = evaluation.metrics["accuracy"], evaluation.against["accuracy"]
            if mine < theirs:
                failed.append(f"no-regression: accuracy {mine:.4f} is below {theirs:.4f}")
            continue
        name, comparison, bound = gate
        value = _metric(evaluation.metrics, name)
        holds = {">=": value >= bound, "<=": value <= bound, ">": value > bound, "<": value < bound}
        if not holds[comparison]:
            failed.append(f"{name} is {value:.4f}, not {comparison} {bound:g}")
    if failed:
        raise GateFailedError("gate failed: " + "; ".join(failed), result=evaluation)


def _metric(metrics: dict[str, Any], name: str) -> float:
    value: Any = metrics
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if not isinstance(value, int | float):
        raise UsageError(f"--gate: no metric {name!r} in metrics.json")
    return float(value)
