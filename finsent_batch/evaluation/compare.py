"""Compare two models on the same headlines, labelled or not."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..arrays import FloatArray
from ..config import CompareConfig
from ..errors import BadDataError, UsageError
from ..io.atomic import frame_bytes, replace_file
from ..io.whole.protected import check_free, protected
from ..labelled.formats import read_labelled
from ..labels import LABELS
from ..metrics.classification import MISSING, evaluate_predictions, predict
from ..metrics.paired import agreement, mcnemar, paired_bootstrap
from ..models.registry import resolve_promoted_model
from ..models.weight_files import FileHashes
from ..progress import Progress, no_progress
from .beside import open_both
from .predict import Predictions, predict_headlines

FLIP_SUFFIXES = (".parquet", ".csv", ".json")


@dataclass(kw_only=True)
class Comparison:
    """What `compare` found. `labelled` is None for headlines without labels.

    `flips` has a row for each headline that the two label differently, the widest
    apart first: headline, label (labelled data only), one, other, one_score,
    other_score, change, one_model, other_model, and the rows of the data that have it.
    """

    n: int
    models: list[dict[str, Any]]
    """Each model's name, fingerprint, arithmetic, label counts, mean score, mean confidence."""
    agreement: dict[str, Any]
    mean_absolute_change: float
    """Mean of |second's score − first's score|, 0 to 2."""
    labelled: dict[str, Any] | None = None
    """`models` (metrics of each), `mcnemar` and `difference` (paired bootstrap)."""
    warnings: list[str] = field(default_factory=list)
    """What was assumed of the models."""
    flips: pl.DataFrame = field(default_factory=pl.DataFrame)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the rows of `flips`, whose number stands instead."""
        plain = asdict(replace(self, flips=pl.DataFrame()))
        return plain | {"flips": self.flipped_rows}

    @property
    def flipped_rows(self) -> int:
        """How many rows of the data the two label differently."""
        return int(self.flips["rows"].sum()) if self.flips.height else 0


def compare(config: CompareConfig, *, progress: Progress = no_progress) -> Comparison:
    """Score the same headlines with two models and say where and how they differ.

    Raises:
        BadDataError: no headlines, or labels that cannot be read.
        FinsentError: anything expected that prevents it.
    """
    _check_output(config)
    one, other = (
        resolve_promoted_model(replace(config.one, model=model), config.store)
        for model in (config.one.model, config.other)
    )
    frame = _read(config)
    if not frame.height:
        raise BadDataError(f"{config.data} has no rows: there is nothing to compare")
    headlines = frame["headline"].to_list()
    specs = open_both((one, other))
    models = [spec.resolve(config.one, FileHashes()) for spec in specs]
    found = [predict_headlines(model, headlines, progress) for model in models]
    answers = [predict(p.probabilities) for p in found]
    change = _scores(found[1].probabilities) - _scores(found[0].probabilities)
    result = Comparison(
        n=frame.height,
        models=[_describe(p) for p in found],
        agreement=agreement(*answers),
        mean_absolute_change=_mean(np.abs(change)),
        warnings=list(dict.fromkeys(note for spec in specs for note in spec.notes)),
    )
    if "label" in frame.columns:
        truth = np.array([LABELS.index(label) for label in frame["label"]], dtype=np.int64)
        result.labelled = {
            "models": [evaluate_predictions(truth, p.probabilities) for p in found],
            "mcnemar": mcnemar(truth, *answers),
            "difference": paired_bootstrap(
                truth, *answers, resamples=config.resamples, seed=config.seed
            ),
        }
    result.flips = _flips(frame, found)
    _write(config.output, result.flips)
    return result


def _check_output(config: CompareConfig) -> None:
    output = config.output
    if output is None:
        return
    check_free(output, protected(inputs=[config.data]))
    if output.suffix not in FLIP_SUFFIXES:
        raise UsageError(f"-o {output}: flips are written as {', '.join(FLIP_SUFFIXES)}")


def _read(config: CompareConfig) -> pl.DataFrame:
    frame = read_labelled(config.data, replace(config.format, label_required=False))
    return frame if config.limit is None else frame.head(config.limit)


def _scores(probabilities: FloatArray) -> FloatArray:
    """Return P(positive) − P(negative) of each row, shape (n,); NaN where there is no answer."""
    return probabilities[:, LABELS.index("positive")] - probabilities[:, LABELS.index("negative")]


def _mean(values: FloatArray) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else 0.0


def _describe(found: Predictions) -> dict[str, Any]:
    predicted = predict(found.probabilities)
    return {
        "model": found.model,
        "model_fingerprint": found.model_fingerprint,
        "weights": found.weights,
        "labels": {label: int((predicted == i).sum()) for i, label in enumerate(LABELS)},
        "missing": int((predicted == MISSING).sum()),
        "mean_score": _mean(_scores(found.probabilities)),
        "mean_confidence": _mean(found.probabilities.max(axis=1)),
    }


def _flips(frame: pl.DataFrame, found: list[Predictions]) -> pl.DataFrame:
    columns = {}
    for name, predictions in zip(("one", "other"), found, strict=True):
        labels = [None if i == MISSING else LABELS[i] for i in predict(predictions.probabilities)]
        columns[name] = pl.Series(labels, dtype=pl.String)
        columns[f"{name}_score"] = pl.Series(_scores(predictions.probabilities)).fill_nan(None)
    order = ("one", "other", "one_score", "other_score")
    both = frame.with_columns(columns[name].alias(name) for name in order)
    both = both.with_columns((pl.col("other_score") - pl.col("one_score")).alias("change"))
    named = [
        pl.lit(p.model).alias(f"{n}_model") for n, p in zip(("one", "other"), found, strict=True)
    ]
    # Scores of one text differ by rounding, with what else was in its batch: they are no key.
    key = [*frame.columns, "one", "other"]
    return (
        both.group_by(key, maintain_order=True)
        .agg(pl.exclude(key).first(), *named, pl.len().alias("rows"))
        .select(*both.columns, *(f"{n}_model" for n in ("one", "other")), "rows")
        .filter(pl.col("one").ne_missing(pl.col("other")))
        .sort(pl.col("change").abs(), descending=True, nulls_last=True, maintain_order=True)
    )


def _write(output: Path | None, flips: pl.DataFrame) -> None:
    if output is None:
        return
    replace_file(output, frame_bytes(flips, output.suffix.lstrip(".")))
