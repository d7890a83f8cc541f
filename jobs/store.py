"""`finsent-batch store`: look after the store."""

from pathlib import Path

import click

from finsent_batch.wording import counted

from .options import Globals, file_path
from .terminal import say


@click.group()
def store() -> None:
    """Look after the store."""


@store.command()
@click.pass_obj
def verify(obj: Globals) -> None:
    """Read the whole store and check that its tables agree.

    \b
    finsent-batch store verify
    finsent-batch --store nightly.duckdb store verify
    """
    from finsent_batch.store.verify import check_store

    scores = check_store(obj.store)
    say(f"{obj.store.path}: sound, {counted(scores, 'score')}")


@store.command()
@click.option(
    "--keep-runs",
    type=click.IntRange(min=1),
    help="First delete all but the last so many finished runs, and their scores.  "
    "[default: delete nothing]",
)
@click.pass_obj
def compact(obj: Globals, keep_runs: int | None) -> None:
    """Rewrite the store without the space of deleted rows; all or nothing.

    Published outputs stay, and the store still knows them. A headline whose score
    was deleted is scored again when it comes again.

    \b
    finsent-batch store compact
    finsent-batch store compact --keep-runs 90
    """
    from finsent_batch.store.compact import compact as run_compact
    from finsent_batch.store.store import Store

    with Store.open(obj.store, create=False) as opened:
        done = run_compact(opened, keep_runs=keep_runs)
    published = "an unknown number" if done.published is None else f"{done.published:,}"
    said = (
        f"{opened.path}: {done.before / 1e6:,.1f} MB before, {done.after / 1e6:,.1f} MB now; "
        f"{counted(done.runs, 'run')} and {counted(done.scores, 'score')} deleted"
    )
    if done.scores:
        said += f"; {published} of these stand in published outputs, which stay as they are"
    say(said)


@store.command()
@click.option(
    "-o", "--output", type=file_path(dir_okay=True), required=True, help="New folder to write."
)
@click.pass_obj
def export(obj: Globals, output: Path) -> None:
    """Write the store's tables to a folder as Parquet, to keep or to import elsewhere.

    \b
    finsent-batch store export -o backup/2014-01-06
    """
    from finsent_batch.store.export import export_store
    from finsent_batch.store.store import Store

    with Store.open(obj.store, read_only=True) as opened:
        rows = export_store(opened, output)
    say(f"wrote {output}: {counted(rows['scores'], 'score')} of {counted(rows['runs'], 'run')}")


@store.command("import")
@click.argument("folder", type=file_path(dir_okay=True))
@click.pass_obj
def import_(obj: Globals, folder: Path) -> None:
    """Add to the store what the export in FOLDER has and the store lacks.

    \b
    finsent-batch store import backup/2014-01-06
    finsent-batch --store both.duckdb store import other-machine
    """
    from finsent_batch.store.export import check_export, import_store
    from finsent_batch.store.store import Store

    check_export(folder)
    with Store.open(obj.store) as opened:
        added = import_store(opened, folder)
    say(
        f"{opened.path}: added {counted(added['scores'], 'score')} "
        f"of {counted(added['runs'], 'run')}"
    )


@store.command()
@click.argument("input", metavar="INPUT")
@click.pass_obj
def forget(obj: Globals, input: str) -> None:
    """Leave the rows of INPUT out of queries and views, for example of a night that came twice.

    Its outputs and scores stay. Scoring it again counts it again. INPUT is the path
    that was scored; for a table it is FILE.duckdb::TABLE.

    \b
    finsent-batch store forget copy-of-monday.csv
    """
    from finsent_batch.store.publications import forget_input
    from finsent_batch.store.store import Store
    from finsent_batch.store.views import refresh_views

    with Store.open(obj.store, create=False) as opened:
        outputs = forget_input(opened, input)
        refresh_views(opened)
    say(f"{opened.path}: {counted(outputs, 'output')} of {input} left out from now on")
