"""An evaluation report as a page: figures of one model, beside another where there is one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..arrays import FloatArray, IntArray
from ..io.text.parsing import parse_json
from ..labels import LABELS
from ..metrics.classification import accuracy_by_coverage, predict, reliability
from ..metrics.gates import GateResult
from ..models.manifest import TRAINING_LOG
from ..version import __version__
from ..wording import counted
from . import evaluation_charts as charts
from .evaluation_cascade import cascade_section
from .page import Page, Section, Table, gate_section

_MISTAKES = 20
_THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def training_log(folder: Path) -> list[dict[str, float]]:
    """Return what `train` logged in a model's directory; nothing where there is no log."""
    try:
        log = parse_json((folder / TRAINING_LOG).read_text("utf-8"))
    except (OSError, ValueError):
        return []
    entries = log if isinstance(log, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and "epoch" in entry]


def evaluation_page(
    metrics: Mapping[str, Any],
    predictions: pl.DataFrame,
    log: Sequence[Mapping[str, float]],
    gates: Sequence[GateResult] = (),
) -> Page:
    """Return the report on an evaluation.

    `metrics` is what metrics.json holds; `predictions` what predictions.parquet does.
    """
    truth = np.array([LABELS.index(label) for label in predictions["label"]], dtype=np.int64)
    probabilities = _probabilities(predictions, "")
    against = metrics.get("against")
    sections = [_classes(metrics, against), _calibration(metrics, predictions, truth)]
    if metrics.get("cascade"):
        sections.append(cascade_section(metrics))
    sections.append(_mistakes(predictions, truth, probabilities))
    if len(log) > 1:
        sections.append(
            Section(id="training", title="Training", charts=[charts.learning_curve(log)])
        )
    if gates:
        sections.insert(0, gate_section(gates))
    state, verdict = _verdict(metrics, gates)
    return Page(
        title=f"Evaluation of {metrics['model']}",
        subtitle=f"{metrics['n']:,} labelled rows of {metrics['data']}, "
        f"fingerprint {metrics['model_fingerprint']}, {metrics['weights']}",
        state=state,
        verdict=verdict,
        figures=_figures(metrics),
        sections=sections,
        footer=f"finsent-batch {__version__}",
    )


def _probabilities(predictions: pl.DataFrame, prefix: str) -> FloatArray:
    """Return shape (n, 3), float32, NaN rows where there is no prediction."""
    columns = [predictions[f"{prefix}p_{label}"].fill_null(np.nan) for label in LABELS]
    return np.stack([c.cast(pl.Float32).to_numpy() for c in columns], axis=1)


def _verdict(metrics: Mapping[str, Any], gates: Sequence[GateResult]) -> tuple[str, str]:
    failed = [gate.reason for gate in gates if gate.holds is False]
    if failed:
        return "bad", f"Gate failed: {'; '.join(failed)}. {_shares(metrics)}"
    return "", _shares(metrics)


def _shares(metrics: Mapping[str, Any]) -> str:
    low, high = _wilson(metrics["accuracy"], metrics["n"])
    said = (
        f"{metrics['accuracy']:.1%} of the rows are right (95 % interval {low:.1%} to {high:.1%})."
    )
    against = metrics.get("against")
    if against is None:
        return said
    test = metrics["mcnemar"]
    return (
        f"{said} {against['model']}: {against['accuracy']:.1%}. Only this model is right: "
        f"{counted(test['only_one'], 'row')}; only the other: {test['only_other']:,}; "
        f"McNemar's p = {test['p_value']:.3g}."
    )


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n rows. Source: Wilson 1927."""
    from scipy.stats import binomtest

    interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _figures(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {
        "accuracy": "accuracy",
        "macro_f1": "macro F1",
        "weighted_f1": "weighted F1",
        "ece": "calibration error",
    }
    figures = [(said, f"{metrics[name]:.3f}") for name, said in names.items()]
    return [("rows", f"{metrics['n']:,}"), *figures, ("no answer", f"{metrics['missing']:,}")]


def _classes(metrics: Mapping[str, Any], against: Mapping[str, Any] | None) -> Section:
    sides = [metrics] + ([against] if against else [])
    drawn = [charts.confusion(metrics, "confusion"), charts.per_class(metrics, against)]
    if against:
        drawn.insert(1, charts.confusion(against, "confusion-against"))
    head = ["label", "precision", "recall", "F1", "rows"]
    tables = [
        Table(title=side["model"], head=head, rows=_by_class(side), numeric=frozenset(range(1, 5)))
        for side in sides
    ]
    text = "Each row of the matrix is a true label; correct predictions are on the diagonal."
    return Section(id="classes", title="By class", text=text, charts=drawn, tables=tables)


def _by_class(side: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            label,
            *(f"{side['per_class'][label][k]:.3f}" for k in ("precision", "recall", "f1")),
            f"{side['per_class'][label]['support']:,}",
        )
        for label in LABELS
    ]


def _calibration(metrics: Mapping[str, Any], predictions: pl.DataFrame, truth: IntArray) -> Section:
    probabilities = _probabilities(predictions, "")
    curve = accuracy_by_coverage(truth, probabilities)
    other, names = None, [metrics["model"]]
    if metrics.get("against"):
        other = accuracy_by_coverage(truth, _probabilities(predictions, "against_"))
        names.append(metrics["against"]["model"])
    bins = reliability(truth, predict(probabilities), probabilities)
    drawn = [charts.reliability_diagram(bins, metrics["ece"]), charts.coverage(curve, other, names)]
    return Section(
        id="confidence",
        title="Confidence",
        text="How reliable the probabilities are, and what is gained by leaving out rows with low "
        "confidence.",
        charts=drawn,
        tables=[_thresholds(curve)],
    )


def _thresholds(curve: charts.Curve) -> Table:
    thresholds, covered, accuracy = curve
    rows = []
    for threshold in _THRESHOLDS:
        at = np.flatnonzero(thresholds >= threshold)
        share, right = (covered[at[-1]], f"{accuracy[at[-1]]:.1%}") if len(at) else (0.0, "–")
        rows.append((f"{threshold:.2f}" if threshold else "none", f"{share:.1%}", right))
    head = ["confidence at least", "coverage", "accuracy"]
    return Table(head=head, rows=rows, numeric=frozenset({0, 1, 2}))


def _mistakes(predictions: pl.DataFrame, truth: IntArray, probabilities: FloatArray) -> Section:
    predicted = predict(probabilities)
    confidence = np.nan_to_num(probabilities).max(axis=1)
    wrong = np.flatnonzero((predicted >= 0) & (predicted != truth))
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    title = "Most confident mistakes"
    if not len(worst):
        return Section(id="mistakes", title=title, text="There are none.")
    headlines = predictions["headline"]
    rows = [
        (f"{confidence[i]:.3f}", f"{LABELS[truth[i]]}, {LABELS[predicted[i]]}", headlines[int(i)])
        for i in worst
    ]
    head = ["confidence", "true, predicted", "headline"]
    table = Table(head=head, rows=rows, numeric=frozenset({0}), wide=frozenset({2}))
    text = f"{counted(len(wrong), 'row')} wrong. If the model is confident, check the label too."
    return Section(id="mistakes", title=title, text=text, tables=[table])
