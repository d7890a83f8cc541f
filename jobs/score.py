"""`finsent-batch score`: label the headlines of a file, a folder or a table."""

from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import click
from click.core import ParameterSource

from finsent_batch.config import ScoreConfig
from finsent_batch.errors import FinsentError
from finsent_batch.hardware import driver_gpus
from finsent_batch.optional_imports import imports_beside, numpy_without_threads
from finsent_batch.visible import visible

from .completion import complete_file
from .options import Globals, model_config
from .parsing.grouped import GroupedCommand
from .parsing.score_groups import GROUPS
from .parsing.score_options import score_options
from .terminal import progress_bar, stop_on_signals


@click.command(cls=GroupedCommand, groups=GROUPS)
@click.argument("inputs", metavar="INPUT...", nargs=-1, shell_complete=complete_file)
@score_options
@click.pass_obj
def score(
    obj: Globals,
    /,
    dry_run: bool,
    summary_format: str,
    model: str,
    output: Path | None,
    inputs: tuple[str, ...],
    **options: Any,
) -> None:
    """Label the headlines of each INPUT: positive, neutral or negative, with probabilities.

    INPUT is a .csv, .tsv, .jsonl (also compressed) or .parquet file, a folder or
    quoted glob of them, an s3://, gs:// or abfs:// address, a .duckdb file with
    --table, or - for standard input. The output has the same rows and columns in the same order,
    with the labels after them. A headline that was scored before is not scored
    again. What fails a gate is scored and not published.

    \b
    finsent-batch score news.csv                       # writes news.scored.parquet
    finsent-batch score news.csv -o labelled.csv --encoding latin-1
    finsent-batch score feeds/*.parquet -o labelled/   # one output for each input
    finsent-batch score news.csv -o s3://bucket/news.parquet
    finsent-batch score feed.duckdb --table headlines  # writes table headlines_scored
    zcat news.csv.gz | finsent-batch score - --input-format csv > labelled.csv
    finsent-batch score --publish-anyway 0193a7c2
    """
    _import_ahead(scored=not dry_run, **options)
    from finsent_batch.io.pairs import to_standard_output
    from finsent_batch.pipeline.dry_run import dry_run as estimate
    from finsent_batch.pipeline.score import score as run_score
    from finsent_batch.pipeline.summary import summary_of_failure
    from finsent_batch.progress import StopRequest

    from .tables.score_text import describe, describe_plan

    _check_inputs(inputs, options["publish_anyway"])
    config = ScoreConfig(
        input=inputs[0] if len(inputs) == 1 else inputs,
        output=output,
        model=model_config(model, options),
        store=obj.store,
        **options,
    )
    as_json = summary_format == "json"
    to_stderr = to_standard_output(config) and not dry_run
    try:
        with progress_bar(quiet=obj.quiet) as progress:
            if dry_run:
                plan = estimate(config, progress=progress)
            else:
                result = run_score(config, progress=progress, stop=stop_on_signals(StopRequest()))
    except FinsentError as error:
        if as_json and not dry_run:
            click.echo(summary_of_failure(config, error).to_json(), err=to_stderr)
        raise
    if dry_run:
        click.echo(plan.to_json() if as_json else visible(describe_plan(plan)))
    elif as_json or not obj.quiet:
        click.echo(result.to_json() if as_json else describe(result), err=to_stderr)


def _check_inputs(inputs: tuple[str, ...], held: str | None) -> None:
    if not inputs and held is None:
        raise click.UsageError(
            "Missing argument 'INPUT...', or a run to be published with --publish-anyway."
        )
    if inputs and held is not None:
        raise click.UsageError("--publish-anyway takes its INPUT from the run: leave it out.")
    if held is not None:
        _check_of_run(click.get_current_context())


def _check_of_run(ctx: click.Context) -> None:
    """Refuse what is said again of a run that is published anyway, and would not be heeded."""
    from finsent_batch.pipeline.auditing.held import OF_THIS_COMMAND

    heeded = {*OF_THIS_COMMAND, "dry_run", "summary_format"} - {"gates", "default_gates"}
    for option in (p for p in ctx.command.params if isinstance(p, click.Option)):
        name = str(option.name)
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in heeded:
            off = option.secondary_opts and ctx.params[name] is False
            flag = (option.secondary_opts if off else option.opts)[-1]
            said = "asks no gate" if "gate" in name else f"takes {flag} from the run"
            raise click.UsageError(f"--publish-anyway {said}: leave {flag} out.")


def _import_ahead(
    *, scored: bool, device: str, engine: str, ray_address: str | None, **_: object
) -> None:
    """Import NumPy, and torch in a thread where one GPU is to score: it takes longer than planning.

    Several GPUs are Ray's, and a night without anything to score has its torch in vain. What fails
    here fails where torch is needed, which says so.
    """
    numpy_without_threads()
    if not scored or device == "cpu" or engine == "ray" or ray_address:
        return

    def work() -> None:
        with suppress(Exception):
            if driver_gpus() == 1:
                with imports_beside():
                    import torch  # noqa: F401

    Thread(target=work, name="torch", daemon=True).start()
