"""The data of a report on some days, or on all: the rows published, by the time of the news."""

from typing import Any

import duckdb

from ..errors import UsageError
from ..io.sql import read_sql
from ..labels import LABELS
from ..metrics.histograms import CONFIDENCE_EDGES, SCORE_EDGES
from ..queries.days import Days, days_between
from ..queries.session import view_published
from ..store.counted import latest_publications
from ..store.store import Store
from ..wording import counted
from .config import ReportConfig
from .run_data import RunData, read_rows, records

_EDGES = {"confidence": CONFIDENCE_EDGES, "sentiment_score": SCORE_EDGES}


def days_of(config: ReportConfig) -> Days | None:
    """Return the days that a report is on; None where it is on a run.

    Raises:
        UsageError: a run and days, or days that end before they begin.
    """
    if not (config.all_days or config.since or config.until):
        return None
    if config.run is not None:
        raise UsageError("--run is a report on one run, --since, --until and --all on days: choose")
    if config.all_days and (config.since or config.until):
        raise UsageError("--all has every day: leave out --since and --until")
    return days_between(config.since, config.until)


def gather_days(config: ReportConfig, days: Days) -> RunData:
    """Read what was published of these days, and of the days before to compare with.

    Raises:
        FinsentError: the store or an output cannot be read.
    """
    with Store.open(config.store, read_only=True) as store:
        data = RunData(store=str(store.path))
        publications = latest_publications(store)
        if not publications:
            return data
        data.outputs = sorted({p.path + (f"::{p.table}" if p.table else "") for p in publications})
        named = {"date_column": config.date_column} if config.date_column else {}
        try:
            _, data.notes = view_published(store, publications, named)
        except UsageError as error:
            told = str(error).replace("--param date_column=", "--date-column ")
            raise UsageError(told) from None
        _read(store.connection, data, config, days)
        return data


def _read(
    connection: duckdb.DuckDBPyConnection, data: RunData, config: ReportConfig, days: Days
) -> None:
    def ask(sql: str, where: str = "", **parameters: object) -> list[dict[str, Any]]:
        rows = f"(FROM scored_headlines WHERE {where or days.sql()})"
        return records(connection, sql.replace("scored_headlines", rows), parameters)

    data.rows = ask("SELECT count(*) AS read FROM scored_headlines")[0]
    if days.first or days.last:
        [undated] = ask("SELECT count(*) AS rows FROM scored_headlines", "news_time IS NULL")
        if undated["rows"]:
            rows = counted(undated["rows"], "published row")
            data.notes.append(f"{rows} without a time that can be read: of no day, and left out")
    data.labels = _labels(ask(_LABELS))
    histogram = read_sql("report/histogram")
    data.histograms = {name: _histogram(ask, histogram, name, "") for name in _EDGES}
    if days.first is not None:
        before = f"news_time < DATE '{days.first}'"
        labels = _labels(ask(_LABELS, before))
        if sum(labels.values()):
            histograms = {name: _histogram(ask, histogram, name, before) for name in _EDGES}
            data.baseline = [{"labels": labels, "histograms": histograms}]
    rows = f"(FROM scored_headlines WHERE {days.sql()})"
    read_rows(connection, data, config.headlines, rows=rows)


_LABELS = "SELECT sentiment, count(*) AS rows FROM scored_headlines GROUP BY sentiment"


def _labels(rows: list[dict[str, Any]]) -> dict[str, int]:
    found = {row["sentiment"]: row["rows"] for row in rows}
    return {label: found.get(label, 0) for label in LABELS}


def _histogram(ask: Any, sql: str, name: str, where: str) -> list[int]:
    edges = list(_EDGES[name])
    found = {row["bin"]: row["rows"] for row in ask(sql, where, edges=edges, figure=name)}
    return [found.get(i, 0) for i in range(len(edges) - 1)]
