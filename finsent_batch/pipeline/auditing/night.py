"""The night of a run: its figures beyond counts, and its record among the nights of its feed."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from ...config import ScoreConfig
from ...errors import UsageError
from ...io.arrow import ArrowSource
from ...labels import LABELS
from ...metrics.confidence import ConfidenceFit, reach_of
from ...metrics.figures import FIGURES
from ...store.nights import Night, feed_of, nights_before, record_night
from ..run import ScoreRun
from ..run_record import source_marks
from .comparison import NIGHTS_COMPARED, compare
from .counts import AuditCounts
from .sources import compare_sources

_EPOCH: Final = date(1970, 1, 1)


def add_night(run: ScoreRun, counts: AuditCounts) -> Night:
    """Add to a run's figures those of its night, and return the night; see `FIGURES`."""
    first, night, now = run.tasks[0], _day(run), time_of_night(run.config)
    feed = feed_of(first.source.path, first.source.table)
    before = nights_before(run.store, feed, night, NIGHTS_COMPARED)
    details: dict[str, Any] = {
        "labels": [counts.labels[label] for label in LABELS],
        "confidence": counts.histograms["confidence"],
        "columns": {f.name: str(f.type) for f in first.source.schema.arrow},
        "sources": counts.sources,
    }
    figures = counts.figures | _accuracy(run) | _traits(run)
    figures["unseen_share"] = _unseen(run, counts.distinct)
    figures["age_hours"] = _age(run, now)
    found, movers = compare_sources(details["sources"], before, night)
    figures |= found
    changes = _columns(details["columns"], before)
    figures |= {f"columns_{kind}": len(names) for kind, names in changes.items()}
    compared = compare(figures, details, before, night, run.fingerprint)
    details["unusual"] = compared["unusual"]
    counts.figures = {name: _rounded(figures.get(name)) for name in FIGURES}
    run.summary.night = {
        "night": night.isoformat(),
        "feed": feed,
        **compared,
        "sources": movers,
        "columns": changes,
    }
    return Night(
        run_id=run.summary.run_id,
        night=night,
        feed=feed,
        status="",
        model_fingerprint=run.fingerprint,
        figures=counts.figures,
        details=details,
    )


def keep_night(run: ScoreRun, night: Night) -> None:
    """Record a night in the store; trials and frames are no nights."""
    if run.config.limit is None and not isinstance(run.tasks[0].source, ArrowSource):
        record_night(run.store, night)


def time_of_night(config: ScoreConfig) -> datetime:
    """Return the time that a night is taken as of, in UTC without a zone.

    Raises:
        UsageError: `--as-of` is none.
    """
    if config.as_of is None:
        return datetime.now(UTC).replace(tzinfo=None)
    try:
        time = datetime.fromisoformat(config.as_of)
    except ValueError:
        raise UsageError(
            f"--as-of {config.as_of}: write a date or a time such as 2014-01-31T06:00"
        ) from None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _day(run: ScoreRun) -> date:
    """Return the day that most rows are of, or today."""
    days: Counter[int] = Counter()
    for task in run.tasks:
        if task.times is not None:
            days.update(task.times.counts.days)
    if days:
        day = max(days, key=lambda d: (days[d], d))
        if -700_000 < day < 2_900_000:  # of the years that a date can have
            return _EPOCH + timedelta(days=day)
    return time_of_night(run.config).date()


def _age(run: ScoreRun, now: datetime) -> float | None:
    """Return how many hours before `now` the newest row is."""
    newest = [t.times.counts.latest for t in run.tasks if t.times is not None]
    known = [time for time in newest if time is not None]
    if not known:
        return None
    return now.replace(tzinfo=UTC).timestamp() / 3600 - max(known) / 3.6e9


def _accuracy(run: ScoreRun) -> dict[str, float | None]:
    """Estimate the accuracy of the labels from the probabilities, with a 95 % interval.

    Whether a headline is labelled rightly is one event however often it comes.
    """
    right, *first = (ConfidenceFit.from_manifest(m.spec.manifest).right_sql() for m in run.models)
    if first:
        right = f"CASE WHEN answered_by = 1 THEN {first[0]} ELSE {right} END"
    [(n, expected, variance)] = run.store.query(
        f"""SELECT sum(rows), sum(rows * p), sum(rows * rows * p * (1 - p)) FROM (
            SELECT rows, {right} AS p FROM plan.keys JOIN plan.answers USING (headline_key))"""
    )
    if not n:
        return {}
    middle, reach = expected / int(n), reach_of(variance, int(n))
    return {
        "estimated_accuracy": middle,
        "estimated_accuracy_low": max(0.0, middle - reach),
        "estimated_accuracy_high": min(1.0, middle + reach),
    }


def _traits(run: ScoreRun) -> dict[str, float | None]:
    """Return what the headlines look like; see `texts.traits`."""
    [(measured, characters, letters, others)] = run.store.query(
        """SELECT count(characters), sum(characters), sum(letters),
            count(*) FILTER (other_language) FROM plan.plan_rows"""
    )
    if not measured:
        return {}
    return {
        "mean_length": int(characters) / measured,
        "letter_share": int(letters) / int(characters),
        "not_english_share": others / measured,
    }


def _unseen(run: ScoreRun, distinct: int) -> float | None:
    """Return the share of headlines that no run of another night or input has scored.

    What earlier runs scored of this same night, killed or held back, is not seen: run again, it
    is judged alike. Those are the runs that read all of these inputs, alone or among others and
    however they were named, since one of them last was published with another content.
    """
    if not distinct:
        return None
    [(seen,)] = run.store.query(
        """WITH now AS (SELECT unnest($2::VARCHAR[]) AS input, unnest($3::VARCHAR[]) AS input_table,
                unnest($4::VARCHAR[]) AS content),
            marked AS (SELECT *, CAST(options->'sources' AS VARCHAR[]) AS sources FROM runs),
            changed AS (
                SELECT started_at FROM run_files AS f JOIN runs USING (run_id)
                JOIN now ON now.input = f.input
                    AND now.input_table IS NOT DISTINCT FROM f.input_table
                WHERE f.row_limit IS NULL AND f.content <> now.content
                UNION ALL SELECT started_at FROM marked
                WHERE status = 'done' AND options->>'limit' IS NULL
                    AND coalesce(sources = $5, input = $6)
                    AND json_extract_string(summary, '$.content') <> $7),
            others AS (
                SELECT run_id FROM marked WHERE run_id <> $1 AND (
                    started_at <= (SELECT max(started_at) FROM changed)
                    OR NOT coalesce(list_has_all(sources, $5), input = $6)))
        SELECT count(*) FROM plan.keys
        WHERE headline_key IN (SELECT headline_key FROM scores WHERE run_id IN (FROM others))""",
        [
            run.summary.run_id,
            [task.source.path for task in run.tasks],
            [task.source.table for task in run.tasks],
            [task.times.content if task.times else None for task in run.tasks],
            source_marks(run),
            run.summary.input,
            run.summary.content,
        ],
    )
    return 1 - float(seen) / distinct


def _columns(columns: dict[str, str], before: list[Night]) -> dict[str, list[str]]:
    """Return which columns the night before did not have, had, or had as another type."""
    last = before[-1].details.get("columns") if before else None
    if last is None:
        return {"added": [], "missing": [], "retyped": []}
    return {
        "added": [name for name in columns if name not in last],
        "missing": [name for name in last if name not in columns],
        "retyped": [
            f"{name}: {last[name]} to {kind}"
            for name, kind in columns.items()
            if name in last and last[name] != kind
        ],
    }


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else round(value, 6)
