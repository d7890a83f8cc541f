"""Report on one run: measure it, check the gates, write the page."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..config import ReportConfig
from ..errors import GateFailedError, UsageError
from ..io.atomic import replace_file
from ..metrics.figures import FIGURES
from ..metrics.gates import Gate, GateResult, check_gate, failures, parse_gate
from ..metrics.histograms import CONFIDENCE_EDGES, SCORE_EDGES
from ..queries.run import check_query_output
from .days_data import days_of, gather_days
from .days_page import days_page
from .page import to_html, to_markdown
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
    data = gather(config) if days is None else gather_days(config, days)
    compared = drift(data)
    metrics = _metrics(data, compared)
    results = [check_gate(gate, metrics) for gate in gates]
    if format_ == "json":
        text = _json(data, compared, metrics, results)
    else:
        if days is None:
            page = run_page(data, compared, results)
        else:
            page = days_page(data, days, compared, results)
        text = to_html(page) if format_ == "html" else to_markdown(page)
    if config.output is not None:
        _write(config.output, text)
    made = RunReport(text=text, metrics=metrics, gates=results)
    if failed := failures(results):
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


def _json(
    data: RunData,
    compared: dict[str, Any],
    metrics: dict[str, float | None],
    gates: Sequence[GateResult],
) -> str:
    content = {
        "schema_version": REPORT_SCHEMA_VERSION,
        "metrics": metrics,
        "gates": [asdict(result) for result in gates],
        "drift": compared,
        "edges": {"confidence": CONFIDENCE_EDGES, "sentiment_score": SCORE_EDGES},
        **asdict(data),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"


def _write(output: Path, text: str) -> None:
    replace_file(output, text.encode())
