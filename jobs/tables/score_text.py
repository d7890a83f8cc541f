"""What `finsent-batch score` prints: a run, or the plan of one, in lines of text."""

from typing import TYPE_CHECKING

from finsent_batch.visible import visible_line
from finsent_batch.wording import counted

if TYPE_CHECKING:
    from finsent_batch.pipeline.dry_run import DryRun
    from finsent_batch.pipeline.summary import Summary


def describe(summary: "Summary") -> str:
    """Return a run's summary as lines of text."""
    rows, labels = summary.rows, summary.labels
    done = rows["scored"] + rows["truncated"]
    lines = [_unchanged(**summary.files)] if summary.files.get("unchanged") else []
    lines += [
        f"{counted(rows['read'], 'row')}: {done:,} labelled "
        f"({counted(rows['unique_scored'], 'headline')} scored, "
        f"{rows['reused'] - rows['duplicate']:,} from the store, "
        f"{counted(rows['duplicate'], 'duplicate')}), "
        f"{rows['empty']:,} empty, {rows['invalid']:,} invalid"
        + (f", {rows['truncated']:,} of the labelled truncated" if rows["truncated"] else "")
    ]
    if done:
        shares = (f"{name} {labels[name]:,} ({labels[name] / done:.0%})" for name in labels)
        lines.append("labels: " + ", ".join(shares))
    if summary.cascade is not None and done:
        lines.append(_describe_cascade(**summary.cascade))
    lines += _describe_columns(summary)
    if summary.confidence is not None and done:
        sure = summary.confidence
        lines.append(
            f"confidence of at least {sure['min_confidence']:g}: "
            f"{counted(sure['confident'] or 0, 'row')}, coverage {sure['coverage']:.1%}"
        )
    lines += _describe_night(summary)
    rate = f", {summary.headlines_per_second:,.0f} headlines/s" if rows["unique_scored"] else ""
    actors = summary.actors
    engine = f"ray with {counted(actors, 'actor')}" if actors else None
    how = ", ".join(filter(None, (summary.weights, summary.batching, engine)))
    lines.append(
        f"{summary.seconds['total']:.1f} s on {summary.device} ({how}){rate}; "
        f"model {summary.model}{' (promoted)' if summary.promoted else ''}, run {summary.run_id}"
    )
    lines += [f"warning: {warning}" for warning in summary.warnings]
    shown = [output for output in summary.outputs if output != "-"]
    if len(shown) > 3:
        shown = [f"{len(shown)} files in {summary.output}"]
    return "\n".join(map(visible_line, [*lines, *(f"wrote {output}" for output in shown)]))


def _unchanged(read: int, unchanged: int, **_: int) -> str:
    return f"{unchanged:,} of {counted(read + unchanged, 'input')} already published, unchanged"


def _describe_cascade(
    first: str, second: str, first_rows: int, second_rows: int, sure: float, **_: object
) -> str:
    """Say how many rows each model answers."""
    rows = f"{first} answers {counted(first_rows, 'row')}, of which it is at least {sure:g} sure"
    return f"{rows}, {second} {second_rows:,}"


def _describe_first(
    model: str, sure: float, answers: int, unsure: int, to_score: int, expected: int
) -> str:
    """Say how many headlines a cascade's first model would answer, where that is known."""
    said = f"{answers:,} answered by {model}, at least {sure:g} sure, {unsure:,} not"
    if to_score:
        said += f", {counted(to_score, 'headline')} it has yet to score"
    said += f"; expected of the other model: {counted(expected, 'headline')}"
    return f"first {visible_line(said)}\n"


def _describe_night(summary: "Summary") -> list[str]:
    """Say how good the labels probably are, and what is unlike the nights before."""
    figures, night, lines = summary.figures, summary.night, []
    low, high = (figures.get(f"estimated_accuracy_{side}") for side in ("low", "high"))
    if low is not None and high is not None:
        lines.append(
            f"estimated accuracy {figures['estimated_accuracy']:.3f} ± {(high - low) / 2:.3f}"
        )
    if night is None:
        return lines
    for name in night["unusual"]:
        band = night["bands"][name]
        usual = [f"{end} {band[side]:.4g}" for side, end in _ENDS if band[side] is not None]
        lines.append(
            f"unlike the {band['nights']} nights before: {name} is {figures[name]:.4g}, "
            f"usual is {' and '.join(usual)}"
        )
    for kind, names in night["columns"].items():
        if names:
            lines.append(f"columns {kind} since the night before: {', '.join(names)}")
    return lines


_ENDS = (("low", "at least"), ("high", "at most"))


def _describe_columns(summary: "Summary") -> list[str]:
    """Say which columns were read, and how."""
    lines = []
    for columns in summary.columns[:3]:
        of = f"{counted(columns['files'], 'input')}: " if len(summary.columns) > 1 else ""
        time = columns["date_column"] or "none: queries by day take the time of scoring"
        how = [f"zone {columns['timezone']}" if columns["timezone"] != "UTC" else ""]
        how.append(f"as {columns['date_format']}" if columns["date_format"] else "")
        told = ", ".join(filter(None, how))
        lines.append(
            f"{of}text column {columns['text_column']}, time column {time}"
            + (f" ({told})" if told else "")
        )
    if summary.times["undated"]:
        lines[-1] += f"; {counted(summary.times['undated'], 'row')} without a day"
    if summary.limit is not None:
        lines.append(
            f"a trial: at most the first {counted(summary.limit, 'row')} of each input (--limit)"
        )
    return lines


def describe_plan(plan: "DryRun") -> str:
    """Return what a run would do as lines of text."""
    time = "unknown" if plan.estimated_seconds is None else f"about {plan.estimated_seconds:,.0f} s"
    rate = (
        ""
        if plan.headlines_per_second is None
        else f" at {plan.headlines_per_second:,.0f} headlines/s ({plan.rate_from})"
    )
    skipped = f"{_unchanged(plan.files, plan.unchanged)}\n" if plan.unchanged else ""
    return skipped + (
        f"{counted(plan.rows, 'row')} in {counted(plan.files, 'file')}, "
        f"{counted(plan.distinct, 'distinct headline')}, {plan.already_scored:,} already scored\n"
        + (_describe_first(**plan.first) if plan.first else "")
        + f"to score: {counted(plan.to_score, 'headline')}, {counted(plan.tokens, 'token')}; "
        f"{time}{rate}\n"
        "dry run: nothing was written"
    )
