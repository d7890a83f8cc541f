"""The data of a run report: the run's record in the store, and the rows it published."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import duckdb

from ..errors import FinsentError, UsageError, first_line
from ..io.columns import DATE_COLUMNS
from ..io.sql import read_sql
from ..labels import LABELS
from ..metrics.drift import population_stability_index, stability_by_chance
from ..metrics.histograms import add_histograms
from ..queries.runs import find_run
from ..queries.session import view_published
from ..reviews.accuracy import accuracy_in
from ..store.publications import publications_of
from ..store.store import Store
from .config import ReportConfig

_RUN = (
    "run_id", "status", "exit_code", "version", "started_at", "finished_at", "input", "output",
    "model", "model_fingerprint", "device", "tokens", "seconds", "headlines_per_second", "options",
    "summary",
)  # fmt: skip
_HOURS_UP_TO_DAYS = 3


@dataclass(kw_only=True)
class RunData:
    """One run; of an empty store, or of a run that published nothing, most of it is empty."""

    store: str
    run: dict[str, Any] | None = None
    rows: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, list[int]] = field(default_factory=dict)
    confidence: dict[str, float] | None = None
    """As in the run's summary; None where no least confidence was asked for."""
    baseline: list[dict[str, Any]] = field(default_factory=list)
    """The runs compared with, oldest first: run_id, started_at, input, labels, histograms."""
    time_unit: str = "day"
    by_time: list[dict[str, Any]] = field(default_factory=list)
    mean_score: float | None = None
    most_negative: list[dict[str, Any]] = field(default_factory=list)
    most_positive: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, float | None] = field(default_factory=dict)
    """As the run measured them before it published; of runs of earlier versions empty."""
    run_gates: list[dict[str, Any]] = field(default_factory=list)
    """What the run itself was held against."""
    night: dict[str, Any] | None = None
    """The night beside those before it, as in the run's summary."""
    reviewed: dict[str, Any] | None = None
    """The model's accuracy by review, in the month of the night if it has any; see
    `reviews.accuracy.ReviewedAccuracy`."""
    published_anyway: str | None = None
    """The run that was held back and that this one published all the same."""

    @property
    def labelled(self) -> int:
        """Rows that have a label."""
        return sum(self.labels.values())


def gather(config: ReportConfig) -> RunData:
    """Read what the store and the published rows say about a run.

    Raises:
        UsageError: there is no such run.
        FinsentError: the store cannot be read.
    """
    with Store.open(config.store, read_only=True) as store:
        data = RunData(store=str(store.path))
        run = find_run(store, config.run, _RUN)
        if run is None:
            return data
        summary = json.loads(run.pop("summary") or "{}")
        options = json.loads(run.pop("options") or "{}")
        if run["status"] == "running":
            # The store could be opened, so nobody holds it.
            run["status"] = "killed"
        data.run = run | {name: summary.get(name) for name in ("weights", "path", "peak_rss_mb")}
        if summary.get("cascade"):
            data.run["cascade"] = summary["cascade"]
        data.rows = summary.get("rows", {})
        data.seconds = summary.get("seconds", {})
        data.labels = _labels(summary)
        data.histograms = summary.get("histograms", {})
        data.confidence = summary.get("confidence")
        data.notes = list(summary.get("warnings", []))
        data.figures = summary.get("figures", {})
        data.run_gates = summary.get("gates", [])
        data.night = summary.get("night")
        month = (data.night or {}).get("night", "")[:7]
        found = accuracy_in(store, run["model_fingerprint"] or "", month)
        data.reviewed = None if found is None else asdict(found)
        data.published_anyway = summary.get("published_anyway")
        data.quarantine = records(
            store.connection, read_sql("report/quarantine"), {"run_id": run["run_id"]}
        )
        data.baseline = _baseline(store, run, config.baseline_runs)
        _read_published(store, data, config, options)
        return data


def records(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Sequence[object] | dict[str, object],
) -> list[dict[str, Any]]:
    """Return what SQL finds, one dict a row."""
    found = connection.execute(sql, parameters)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _labels(summary: dict[str, Any]) -> dict[str, int]:
    labels: dict[str, int] = summary.get("labels") or {}
    return {label: labels.get(label, 0) for label in LABELS}


def _baseline(store: Store, run: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    parameters = {name: run[name] for name in ("run_id", "started_at", "model_fingerprint")}
    sql = read_sql("report/baseline")
    runs = records(store.connection, sql, {**parameters, "runs": limit})[::-1]
    for earlier in runs:
        summary = json.loads(earlier.pop("summary") or "{}")
        earlier |= {"labels": _labels(summary), "histograms": summary.get("histograms", {})}
    return [earlier for earlier in runs if sum(earlier["labels"].values())]


def _read_published(
    store: Store, data: RunData, config: ReportConfig, options: dict[str, Any]
) -> None:
    """Add what only the rows tell; rows that are gone are noted, not an error."""
    assert data.run is not None
    data.outputs, targets = publications_of(store, data.run["run_id"])
    gone = len(data.outputs) - len(targets)
    if gone:
        data.notes.append(
            f"{gone} of {len(data.outputs)} outputs of this run are gone or were "
            "replaced by a later run: sentiment by time and the strongest headlines leave them out"
        )
    view = {"date_column": config.date_column, "text_column": options.get("text_column")}
    if not targets:
        return
    try:
        named = {name: column for name, column in view.items() if column}
        dated, notes = view_published(store, targets, named)
        data.notes += notes
        if not dated:
            data.notes.append(
                f"the rows have no column {', '.join(DATE_COLUMNS[:5])} or the like: name the one "
                "that holds the time of publication with --date-column to see sentiment by day"
            )
        read_rows(store.connection, data, config.headlines, dated=dated)
    except UsageError as error:
        raise UsageError(str(error).replace("--param date_column=", "--date-column ")) from None
    except (FinsentError, duckdb.Error) as error:
        data.notes.append(f"published rows cannot be read: {first_line(error)}")


def read_rows(
    connection: duckdb.DuckDBPyConnection,
    data: RunData,
    headlines: int,
    *,
    rows: str = "scored_headlines",
    dated: bool = True,
) -> None:
    """Read of `rows` the mean, the strongest headlines and, where `dated`, sentiment by time."""

    def ask(name: str, **parameters: object) -> list[dict[str, Any]]:
        sql = read_sql(f"report/{name}").replace("scored_headlines", rows)
        return records(connection, sql, parameters)

    sql = f"SELECT avg(sentiment_score), min(news_time), max(news_time) FROM {rows}"
    data.mean_score, first, last = connection.execute(sql).fetchall()[0]
    if dated and first is not None:
        is_short = last - first < timedelta(days=_HOURS_UP_TO_DAYS)
        data.time_unit = "hour" if is_short else "day"
        data.by_time = ask("sentiment_by_time", unit=data.time_unit)
    data.most_negative = ask("strongest", label="negative", sign=-1, headlines=headlines)
    data.most_positive = ask("strongest", label="positive", sign=1, headlines=headlines)


def _tenths(counts: Sequence[int]) -> list[int]:
    """Join the bins of confidence, 0.05 wide, in pairs: fewer bins, less noise."""
    return [one + other for one, other in zip(counts[::2], counts[1::2], strict=True)]


def drift(data: RunData) -> dict[str, Any]:
    """Return the population stability indices of a run against its baseline.

    `psi` is the greater of `psi_labels` and `psi_confidence`; each is None where there
    is nothing to compare. `chance_…` is what sampling alone stays below, 95 times of 100.
    """
    total: dict[str, list[int]] = {}
    for run in data.baseline:
        add_histograms(total, {"labels": [run["labels"][label] for label in LABELS]})
        add_histograms(total, run["histograms"])
    found: dict[str, Any] = {"baseline_rows": sum(total.get("labels", [])), "baseline": total}
    compared = {
        "labels": ([data.labels.get(label, 0) for label in LABELS], total.get("labels", [])),
        "confidence": tuple(_tenths(of.get("confidence", [])) for of in (data.histograms, total)),
    }
    for name, (now, before) in compared.items():
        comparable = bool(now and before)
        found[f"psi_{name}"] = population_stability_index(now, before) if comparable else None
        found[f"chance_{name}"] = stability_by_chance(now, before) if comparable else None
    known = [v for v in (found["psi_labels"], found["psi_confidence"]) if v is not None]
    return {"psi": max(known, default=None), **found}
