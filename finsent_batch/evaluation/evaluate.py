"""Evaluate a model on labelled data, alone or beside another."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from ..arrays import FloatArray, IntArray
from ..config import BASE, EvaluateConfig
from ..errors import BadDataError, CannotCreateError, FinsentError, GateFailedError, UsageError
from ..io.atomic import frame_bytes, make_folder
from ..io.whole.folders import no_empty_folder_left, replacing_folder
from ..io.whole.protected import check_free_folder, protected
from ..labelled.formats import read_labelled
from ..labels import LABELS
from ..metrics.classification import MISSING, evaluate_predictions, notes_on, predict
from ..metrics.gates import (
    NO_REGRESSION,
    Gate,
    GateResult,
    check_gate,
    failures,
    metric_value,
    parse_gate,
)
from ..metrics.paired import mcnemar
from ..models.directory import open_configured
from ..models.model_card import add_evaluation
from ..models.registry import resolve_promoted_first, resolve_promoted_model
from ..models.spec import CAUSAL, ModelSpec, ResolvedModel
from ..models.weight_files import FileHashes
from ..progress import Progress, no_progress
from ..reports.evaluation_page import evaluation_page, training_log
from ..reports.page import to_html
from ..store.store import Store, utc_now
from ..store.views import refresh_views
from .beside import open_beside
from .cascade import evaluate_first, resolve_first
from .earlier import check_earlier
from .predict import predict_headlines

AGAINST_FILE = "predictions_against.parquet"
_FILES = ("metrics.json", "predictions.parquet", "predictions.csv", "report.html", AGAINST_FILE)
_FIGURES = ("n", "accuracy", "macro_f1", "weighted_f1", "ece")
_METRICS = "accuracy, macro_f1, weighted_f1, ece, missing, per_class.LABEL.recall …"


@dataclass(kw_only=True)
class Evaluation:
    """What `evaluate` found; `against` and `comparison` only beside another model."""

    metrics: dict[str, Any]
    against: dict[str, Any] | None = None
    comparison: dict[str, float] | None = None
    cascade: dict[str, Any] | None = None
    """Only with a first model; see `evaluate_first`."""
    gates: list[GateResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def evaluate(config: EvaluateConfig, *, progress: Progress = no_progress) -> Evaluation:
    """Score labelled data, write `metrics.json`, `predictions.parquet` and `report.html`.

    Headlines go through the scorer that `score` uses. `predictions_against.parquet` has what the
    other model said.

    Raises:
        CannotCreateError: the folder holds another evaluation.
        GateFailedError: after everything is written, if a gate does not hold.
        FinsentError: anything expected that prevents it.
    """
    gates = _gates(config)
    config = _settled(config)
    with no_empty_folder_left(config.output):
        evaluation = _evaluate(config, gates, progress)
    if failed := failures(evaluation.gates):
        raise GateFailedError(f"gate failed: {failed}", result=evaluation)
    return evaluation


def _evaluate(config: EvaluateConfig, gates: Sequence[Gate], progress: Progress) -> Evaluation:
    frame = read_labelled(config.data, config.format)
    if not frame.height:
        raise BadDataError(f"{config.data} has no rows: there is nothing to measure")
    truth = np.array([LABELS.index(label) for label in frame["label"]], dtype=np.int64)
    spec = open_configured(config.model)
    specs = [spec] if config.against is None else [spec, _against(config, spec)]
    models = [spec.resolve(config.model, FileHashes()) for spec in specs]
    first = resolve_first(config, config.model, models[0])
    check_earlier(config, [m.fingerprint for m in (*models, *([first] if first else []))])
    _check_output(config)
    result, probabilities = _one(models[0], frame, truth, progress)
    evaluation = Evaluation(metrics=result, warnings=[*spec.notes, *notes_on(truth)])
    columns, other = _prediction_columns(probabilities, ""), None
    if len(models) > 1:
        evaluation.against, found = _one(models[1], frame, truth, progress)
        evaluation.comparison = mcnemar(truth, predict(probabilities), predict(found))
        columns += _prediction_columns(found, "against_")
        other = frame.with_columns(_prediction_columns(found, ""))
    if first is not None:
        evaluation.cascade, found = evaluate_first(
            first, frame, truth, probabilities, config.agreement, progress
        )
        columns += _prediction_columns(found, "first_")
    evaluation.gates = _check(gates, evaluation)
    _write(config, evaluation, frame.with_columns(columns), other, training_log(spec.folder))
    base = evaluation.against if config.against == BASE else None
    add_evaluation(spec, config.data, evaluation.metrics, base)
    _record(config, evaluation)
    return evaluation


def _settled(config: EvaluateConfig) -> EvaluateConfig:
    """Say which model `promoted` is, before anything is written."""
    against = config.against
    if against is not None:
        against = resolve_promoted_model(replace(config.model, model=against), config.store).model
    model = resolve_promoted_model(config.model, config.store)
    first = config.first
    if first is not None:
        first = resolve_promoted_first(first, config.store)
    return replace(config, model=model, against=against, first=first)


def _gates(config: EvaluateConfig) -> list[Gate]:
    """Parse the gates and look their metrics up: a wrong name must not cost an evaluation."""
    nothing = evaluate_predictions(np.empty(0, np.int64), np.empty((0, len(LABELS)), np.float32))
    gates = [parse_gate(text, _METRICS, no_regression=True) for text in config.gates]
    for gate in gates:
        if gate.metric != NO_REGRESSION:
            metric_value(gate.metric, nothing)
        elif config.against is None:
            raise UsageError("--gate no-regression compares with another model: name it --against")
    return gates


def _check_output(config: EvaluateConfig) -> None:
    """Make the folder, unless its results would replace what must stay."""
    store = None if config.store is None else config.store.path
    check_free_folder(config.output, _FILES, protected(store=store, inputs=[config.data]))
    try:
        make_folder(config.output)
    except OSError as error:
        raise CannotCreateError(f"cannot create {config.output} ({error.strerror})") from None


def _against(config: EvaluateConfig, spec: ModelSpec) -> ModelSpec:
    """Return the other model; `base` is the first one's, in the same quantisation."""
    assert config.against is not None
    if config.against != BASE:
        return open_beside(replace(config.model, model=config.against))
    if spec.family != CAUSAL or spec.adapter is None:
        raise UsageError(f"--against base: {spec.name} is not an adapter of a causal model")
    return replace(spec, name=spec.base_id, adapter=None, temperature=1.0, manifest={})


def _one(
    model: ResolvedModel, frame: pl.DataFrame, truth: IntArray, progress: Progress
) -> tuple[dict[str, Any], FloatArray]:
    found = predict_headlines(model, frame["headline"].to_list(), progress)
    metrics = evaluate_predictions(truth, found.probabilities)
    metrics |= {"model": found.model, "model_fingerprint": found.model_fingerprint}
    return metrics | {"weights": found.weights}, found.probabilities


def _prediction_columns(probabilities: FloatArray, prefix: str) -> list[pl.Series]:
    predicted = [None if i == MISSING else LABELS[i] for i in predict(probabilities)]
    columns = [pl.Series(f"{prefix}sentiment", predicted, dtype=pl.String)]
    for i, label in enumerate(LABELS):
        values = pl.Series(f"{prefix}p_{label}", probabilities[:, i])
        columns.append(values.fill_nan(None))
    return columns


def _write(
    config: EvaluateConfig,
    evaluation: Evaluation,
    frame: pl.DataFrame,
    other: pl.DataFrame | None,
    log: list[dict[str, float]],
) -> None:
    found = {**evaluation.metrics, "data": str(config.data)}
    if evaluation.against is not None:
        found |= {"against": evaluation.against, "mcnemar": evaluation.comparison}
    if evaluation.cascade is not None:
        found["cascade"] = evaluation.cascade
    if evaluation.gates:
        found["gates"] = [asdict(result) for result in evaluation.gates]
    page = evaluation_page(found, frame, log, evaluation.gates)
    with replacing_folder(config.output, index="metrics.json") as folder:
        (folder / "metrics.json").write_text(
            json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
        (folder / "predictions.parquet").write_bytes(frame_bytes(frame, "parquet"))
        (folder / "predictions.csv").write_bytes(frame_bytes(frame, "csv"))
        if other is not None:
            (folder / AGAINST_FILE).write_bytes(frame_bytes(other, "parquet"))
        (folder / "report.html").write_text(to_html(page), "utf-8")


def _record(config: EvaluateConfig, evaluation: Evaluation) -> None:
    """Note the figures in the store; a locked store must not cost the evaluation."""
    if config.store is None:
        return
    cascade = {} if evaluation.cascade is None else {"cascade": evaluation.cascade}
    sides = [(evaluation.metrics | cascade, "predictions.parquet")]
    if evaluation.against is not None:
        sides.insert(0, (evaluation.against, AGAINST_FILE))
    try:
        with Store.open(config.store) as store:
            for metrics, file in sides:
                predictions = {"predictions": str((config.output / file).resolve())}
                store.insert(
                    "evaluations",
                    {
                        "evaluated_at": store.after("evaluations", "evaluated_at", utc_now()),
                        "model": metrics["model"],
                        "model_fingerprint": metrics["model_fingerprint"],
                        "data": str(config.data.resolve()),
                        **{name: metrics[name] for name in _FIGURES},
                        "metrics": json.dumps(metrics | predictions),
                    },
                )
            refresh_views(store)
    except FinsentError as error:
        evaluation.warnings.append(f"not recorded in the store: {error}")


def _check(gates: Sequence[Gate], evaluation: Evaluation) -> list[GateResult]:
    return [
        _no_regression(evaluation)
        if gate.metric == NO_REGRESSION
        else check_gate(gate, evaluation.metrics)
        for gate in gates
    ]


def _no_regression(evaluation: Evaluation) -> GateResult:
    assert evaluation.against is not None
    mine, theirs = evaluation.metrics["accuracy"], evaluation.against["accuracy"]
    holds = mine >= theirs
    reason = f"accuracy {mine:.4f} is {'not ' if holds else ''}below {theirs:.4f}"
    return GateResult(
        gate=NO_REGRESSION, value=mine - theirs, holds=holds, reason=f"{NO_REGRESSION}: {reason}"
    )
