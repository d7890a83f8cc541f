"""`finsent-batch report`: a page about one run."""

from pathlib import Path
from typing import Any

import click

from finsent_batch.reports.config import ReportConfig

from .completion import complete_run
from .options import Globals, file_path
from .terminal import say


@click.command()
@click.option(
    "--run",
    shell_complete=complete_run,
    help="Id of the run, or its first characters.  [default: the latest run]",
)
@click.option("--since", metavar="DAY", help="Report on the news from this day on: 2014-01-06.")
@click.option("--until", metavar="DAY", help="Report on the news up to this day, it included.")
@click.option(
    "--all", "all_days", is_flag=True, default=False, help="Report on all that is published."
)
@click.option(
    "--nights",
    type=click.IntRange(min=1),
    metavar="N",
    help="Report on the last N nights of a feed: published or held back, and what moved.",
)
@click.option(
    "--feed", help="Of which feed, as query nights names it.  [default: the one scored last]"
)
@click.option("-o", "--output", type=file_path(), help="FILE.html, .md or .json.  [default: print]")
@click.option(
    "--format",
    type=click.Choice(["html", "md", "json"]),
    help="[default: by the output's suffix; md when printed]",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="EXPR",
    help="Exit with 3 unless it holds: psi<0.2, unlabelled_share<=0.01. Repeatable.",
)
@click.option(
    "--baseline-runs",
    type=click.IntRange(min=1),
    default=ReportConfig.baseline_runs,
    help="How many earlier runs of the same model to compare with.",
)
@click.option(
    "--headlines",
    type=click.IntRange(min=0),
    default=ReportConfig.headlines,
    help="How many of the most negative and of the most positive headlines to show.",
)
@click.option(
    "--date-column",
    help="Column of the publication time.  [default: first of published_at, date, time]",
)
@click.pass_obj
def report(obj: Globals, /, output: Path | None, **options: Any) -> None:
    """Write a report on a run, on days or on nights: what moved, labels, confidence, drift.

    The HTML file is self-contained: it needs no other files and no network.

    \b
    finsent-batch report -o report.html                        # the latest run
    finsent-batch report --nights 30 -o nights.html
    finsent-batch report --since 2014-01-06 --until 2014-01-12 -o week.html
    finsent-batch report -o report.json --gate "psi<0.2"
    """
    from finsent_batch.errors import GateFailedError
    from finsent_batch.reports.run_report import report as run_report

    config = ReportConfig(store=obj.store, output=output, **options)
    try:
        made, failed = run_report(config), None
    except GateFailedError as error:
        made, failed = error.result, error
    if output is None:
        click.echo(made.text, nl=False)
    else:
        say(f"wrote {output}")
    for gate in made.gates:
        if gate.holds is None:
            say(f"warning: {gate.reason}", err=True)
    if failed is not None:
        raise failed
