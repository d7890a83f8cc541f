"""Report on a run, on days or on nights: measure it, check the gates, write the page."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..errors import GateFailedError, UsageError
from ..io.atomic import replace_file
from ..metrics.figures import FIGURES
from ..metrics.gates import Gate, GateResult, check_gate, failures, parse_gate
from ..metrics.histograms import CONFIDENCE_EDGES, SCORE_EDGES
from ..queries.run import check_query_output
from .config import ReportConfig
from .days_data import days_of, gather_days
from .days_page import days_page
from .nights_data import check_nights, gather_nights
from .nights_page import nights_page
from .page import Page, to_html, to_markdown
from .run_data import RunData, drift, gather
from .run_page import run_page

REPORT_SCHEMA_VERSION: Final = 1
FORMATS: Final = ("html", "md", "json")
_OWN: Final = (
    "psi", "psi_labels", "psi_confidence", "negative_share", "neutral_share", "positive_share",
    "mean_score", "reused_share", "unlabelled_share", "quarantined", "headlines_per_second",
    "seconds", "rows",
)  # fmt: skip
_METRICS: Final = (*_OWN, *(name for name in FIGURES if name not in _OWN))
"""What gates can name: what the report finds itself, and the figures of the night."""


@dataclass(kw_only=True)
class RunReport:
    """A report on one run, as text in the format asked for."""

    text: str
    metrics: dict[str, float | None]
    gates: list[GateResult]


def report(config: ReportConfig) -> RunReport:
    """Write the report on a run to `config.output`, if one is named.

    Raises:
        UsageError: unknown run, gate or format.
        GateFailedError: after it is written, if a gate does not hold.
        FinsentError: the store cannot be read or the output not written.
    """
    gates = [parse_gate(text, ", ".join(_METRICS)) for text in config.gates]
    format_ = _format(config)
    _check_metrics(gates)
    if config.output is not None:
        check_query_output(config.output, config.store, None)
    days = days_of(config)
    check_nights(config, days)
    if config.nights is not None:
        nights = gather_nights(config)
        metrics = {name: nights.last_figures.get(name) for name in _METRICS}
        results = [check_gate(gate, metrics) for gate in gates]
        if format_ == "json":
            text = _as_json(metrics, results, asdict(nights))
        else:
            text = _written(nights_page(nights, results), format_)
        return _finish(config, RunReport(text=text, metrics=metrics, gates=results))
    data = gather(config) if days is None else gather_days(config, days)
    compared = drift(data)
    metrics = _metrics(data, compared)
    results = [check_gate(gate, metrics) for gate in gates]
    if format_ == "json":
        edges = {"confidence": CONFIDENCE_EDGES, "sentiment_score": SCORE_EDGES}
        content = {"drift": compared, "edges": edges, **asdict(data)}
        text = _as_json(metrics, results, content)
    else:
        if days is None:
            page = run_page(data, compared, results)
        else:
            page = days_page(data, days, compared, results)
        text = _written(page, format_)
    return _finish(config, RunReport(text=text, metrics=metrics, gates=results))


def _written(page: Page, format_: str) -> str:
    return to_html(page) if format_ == "html" else to_markdown(page)


def _finish(config: ReportConfig, made: RunReport) -> RunReport:
    """Write the report, and say so where a gate does not hold."""
    if config.output is not None:
        replace_file(config.output, made.text.encode())
    if failed := failures(made.gates):
        raise GateFailedError(f"gate failed: {failed}", result=made)
    return made


def _format(config: ReportConfig) -> str:
    """Settle the format. An output must look like a report, lest a slip replaces data."""
    if config.output is None:
        return config.format or "md"
    suffix = config.output.suffix.removeprefix(".")
    if suffix not in FORMATS or (config.format or suffix) != suffix:
        raise UsageError(
            f"-o {config.output}: a report is .html, .md or .json, as --format says if it is given"
        )
    return suffix


def _check_metrics(gates: Sequence[Gate]) -> None:
    for gate in gates:
        check_gate(gate, dict.fromkeys(_METRICS))


def _metrics(data: RunData, compared: dict[str, Any]) -> dict[str, float | None]:
    """Return what gates can name; None where there is nothing to measure."""
    read = data.rows.get("read", 0)
    shares = {
        f"{label}_share": count / data.labelled if data.labelled else None
        for label, count in data.labels.items()
    }
    found = {
        **{name: compared[name] for name in ("psi", "psi_labels", "psi_confidence")},
        **shares,
        "mean_score": data.mean_score,
        "reused_share": data.rows["reused"] / read if read and data.run else None,
        "unlabelled_share": 1 - data.labelled / read if read else None,
        "quarantined": sum(q["rows"] for q in data.quarantine),
        "headlines_per_second": data.run["headlines_per_second"] if data.run else None,
        "seconds": data.seconds.get("total"),
        "rows": read,
    }
    return {name: found.get(name, data.figures.get(name)) for name in _METRICS}


def _as_json(
    metrics: dict[str, float | None], gates: Sequence[GateResult], content: dict[str, Any]
) -> str:
    whole = {
        "schema_version": REPORT_SCHEMA_VERSION,
        "metrics": metrics,
        "gates": [asdict(result) for result in gates],
        **content,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, default=str) + "\n"
