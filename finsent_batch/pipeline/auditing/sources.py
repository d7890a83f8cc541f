"""The sources of a night: each one's volume and mood, and which moved most."""

from collections.abc import Iterator, Sequence
from datetime import date
from statistics import median
from typing import Any, Final

import pyarrow as pa

from ...arrays import row_numbers
from ...io.arrow import registered
from ...metrics.bands import FEWEST_NIGHTS, comparable
from ...store.nights import Night
from ..result_stream import LABELLED_ROWS
from ..run import ScoreRun, ScoreTask

KEPT: Final = 100
"""The most sources that are kept of a night: those with the most rows."""
_MOVERS: Final = 5
_ALWAYS: Final = 0.9
"""Who was there on this share of the comparable nights is missed."""


def sources_of(run: ScoreRun) -> dict[str, dict[str, float | None]] | None:
    """Return rows, labelled rows and mean score of each source; None without such a column."""
    if not any(task.source_column for task in run.tasks):
        return None
    run.store.connection.execute(
        "CREATE OR REPLACE TABLE plan.source_counts (source VARCHAR, "
        "rows BIGINT, labelled BIGINT, score DOUBLE)"
    )
    for number, task in enumerate(run.tasks):
        if task.source_column is not None:
            _count(run, number, task, task.source_column)
    rows = run.store.query(
        f"""SELECT source, sum(rows), sum(labelled), sum(score) FROM plan.source_counts
        GROUP BY source ORDER BY 2 DESC, 1 LIMIT {KEPT}"""
    )
    run.store.connection.execute("DROP TABLE plan.source_counts")
    return {
        source: {
            "rows": int(count),
            "labelled": int(labelled),
            "mean_score": round(score / labelled, 6) if labelled else None,
        }
        for source, count, labelled, score in rows
    }


def _count(run: ScoreRun, number: int, task: ScoreTask, column: str) -> None:
    kind = task.source.schema.arrow.field(column).type
    schema = pa.schema([("row_number", pa.int64()), pa.field("value", kind)])

    def values() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in task.source.batches([column]):
            numbers = row_numbers(start, batch.num_rows)
            start += batch.num_rows
            yield pa.RecordBatch.from_arrays([numbers, batch.column(0)], schema=schema)

    with registered(run.store.connection, "source_names", schema, values()):
        run.store.connection.execute(
            f"""INSERT INTO plan.source_counts
            SELECT coalesce(CAST(value AS VARCHAR), ''), count(*), count(sentiment),
                coalesce(sum(sentiment_score), 0)
            FROM source_names JOIN ({LABELLED_ROWS}) AS labelled
                ON labelled.row_number = source_names.row_number AND file = {number}
            GROUP BY 1""",
            [run.model.fingerprint],
        )


def compare_sources(
    found: dict[str, dict[str, float | None]] | None, before: Sequence[Night], night: date
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Return the figures of a night's sources and the sources that moved most, the first most.

    A move is the change of a source's share of the rows against the median of the comparable
    nights. Missing is who had rows on nine of ten of them and has none tonight.
    """
    names = ("sources", "missing_sources", "largest_source_move")
    figures: dict[str, float | None] = dict.fromkeys(names)
    if found is None:
        return figures, []
    figures["sources"] = len(found)
    dated = [(n.night.weekday(), n.details["sources"]) for n in before if n.details.get("sources")]
    others, _ = comparable(dated, night.weekday())
    if len(others) < FEWEST_NIGHTS:
        return figures, []
    movers = [_moved(name, found, others) for name in {*found, *(s for o in others for s in o)}]
    movers.sort(key=lambda m: (-abs(m["share"] - m["usual_share"]), m["source"]))
    missing = [m for m in movers if not m["rows"] and m["nights"] >= _ALWAYS * len(others)]
    figures["missing_sources"] = len(missing)
    if movers:
        figures["largest_source_move"] = abs(movers[0]["share"] - movers[0]["usual_share"])
    told = [*movers[:_MOVERS], *(m for m in missing if m not in movers[:_MOVERS])]
    return figures, told


def _moved(
    name: str,
    found: dict[str, dict[str, float | None]],
    others: Sequence[dict[str, dict[str, float | None]]],
) -> dict[str, Any]:
    here = found.get(name, {"rows": 0, "labelled": 0, "mean_score": None})
    there = [night[name] for night in others if name in night]
    moods = [s["mean_score"] for s in there if s["mean_score"] is not None]
    return {
        "source": name,
        "rows": here["rows"],
        "share": round((here["rows"] or 0) / _rows(found), 6),
        "usual_share": round(
            median((night.get(name, {}).get("rows") or 0) / _rows(night) for night in others), 6
        ),
        "mean_score": here["mean_score"],
        "usual_mean_score": round(median(moods), 6) if moods else None,
        "nights": len(there),
    }


def _rows(sources: dict[str, dict[str, float | None]]) -> float:
    return sum(source["rows"] or 0 for source in sources.values()) or 1
