"""The end of planning: what each input's columns and times are, and whether it is known already."""

import shlex
from collections import Counter

from ..io.columns import DATE_COLUMNS, NewsColumns, usual_columns
from ..io.duckdb_append import input_name
from ..io.times.text import BLANK, FAR, NO_ORDER, NO_ZONE
from ..store.counted import latest_publications
from ..store.notes import said_of, twice
from ..wording import counted
from .news_times import settle_times
from .run import ScoreRun, ScoreTask


def settle_tasks(run: ScoreRun) -> None:
    """Settle the times of a run's inputs, and put into its summary what has to be said."""
    run.store.connection.execute("DROP TABLE IF EXISTS plan.undated")  # of an earlier plan
    for number, task in enumerate(run.tasks):
        task.times = settle_times(run.store, number, task.source, task.columns)
        task.columns = task.times.columns
        run.stop.check()
    summary = run.summary
    summary.columns = _columns(run.tasks)
    faults: Counter[str] = Counter()
    for task in run.tasks:
        assert task.times is not None
        faults.update(task.times.counts.faults)
        summary.times["dated"] += task.times.counts.dated
        summary.times["undated"] += task.times.counts.undated
    summary.times["faults"] = dict(faults.most_common())
    _warn_of_times(run, faults)
    _warn_of_copies(run)


def _columns(tasks: list[ScoreTask]) -> list[dict[str, object]]:
    """Return the different choices of columns, each with the number of inputs it is of."""
    found: Counter[NewsColumns] = Counter(task.columns for task in tasks)
    return [
        {
            "text_column": columns.text_column,
            "date_column": columns.date_column,
            "date_format": columns.times.date_format,
            "timezone": columns.times.timezone,
            "files": files,
        }
        for columns, files in found.most_common()
    ]


def _warn_of_times(run: ScoreRun, faults: Counter[str]) -> None:
    if faults:
        rows = sum(faults.values())
        run.summary.warnings.append(
            f"{counted(rows, 'row')} {'has' if rows == 1 else 'have'} no time that can be read: "
            f"{said_of(faults)}; labelled, and in no day{_remedy(faults, _not_taken(run))}"
        )


def _not_taken(run: ScoreRun) -> str | None:
    """Return a column with a usual name beside one in which no time at all can be read."""
    for task in run.tasks:
        if run.config.date_column is None and task.times and not task.times.counts.dated:
            usual = usual_columns(task.source.schema.names, DATE_COLUMNS)
            if len(usual) > 1:
                return usual[1]
    return None


def _remedy(faults: Counter[str], not_taken: str | None) -> str:
    """Return which options would read what could not be read."""
    zone = NO_ZONE.split("{}")[0]
    remedies = []
    if NO_ORDER in faults:
        remedies.append("--date-format dmy, mdy or ymd")
    if any(reason.startswith(zone) for reason in faults):
        remedies.append("the feed's --timezone, such as Europe/London")
    others = [r for r in faults if r not in (NO_ORDER, BLANK, FAR) and not r.startswith(zone)]
    if not_taken is not None:
        remedies.append(f"--date-column {shlex.quote(not_taken)}")
    elif others:
        remedies.append("--date-format, such as '%d.%m.%Y %H:%M', or another --date-column")
    return f": score it again with {' and '.join(remedies)}" if remedies else ""


def _warn_of_copies(run: ScoreRun) -> None:
    """Say which inputs hold the news of others that count in queries."""
    own = {input_name(task.source.path, task.source.table) for task in run.tasks}
    known = {
        content: name
        for publication in latest_publications(run.store)
        for content, name in zip(publication.contents, publication.made_from, strict=False)
        if name not in own
    }
    for task in run.tasks:
        name = input_name(task.source.path, task.source.table)
        assert task.times is not None
        if task.times.content is None:
            continue
        other = known.setdefault(task.times.content, name)
        if other != name:
            run.summary.warnings.append(twice(other, name))
