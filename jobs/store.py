"""`finsent-batch store`: look after the store."""

from pathlib import Path
from typing import Any

import click

from .options import file_path


# A default_map of its own: in the file, `store` is the global option of that name.
@click.group(context_settings={"default_map": {}})
def store() -> None:
    """Look after the store."""


@store.command()
@click.pass_obj
def verify(obj: Any) -> None:
    """Read the whole store and check that what it says holds together.

    \b
    finsent-batch store verify
    finsent-batch --store nightly.duckdb store verify
    """
    from finsent_batch.store.verify import check_store

    scores = check_store(obj.store)
    click.echo(f"{obj.store.path}: sound, {scores:,} scores")


@store.command()
@click.option(
    "--keep-runs",
    type=click.IntRange(min=1),
    help="Forget what all but the last so many finished runs scored.  [default: forget nothing]",
)
@click.pass_obj
def compact(obj: Any, keep_runs: int | None) -> None:
    """Write the store anew without the room of what is gone; it is never half done.

    What was published stays, and stays known. A headline whose score was forgotten
    is scored again when it comes again.

    \b
    finsent-batch store compact
    finsent-batch store compact --keep-runs 90
    """
    from finsent_batch.store.compact import compact as run_compact
    from finsent_batch.store.store import Store

    with Store.open(obj.store, create=False) as opened:
        done = run_compact(opened, keep_runs=keep_runs)
    click.echo(
        f"{opened.path}: {done.before / 1e6:,.1f} MB before, {done.after / 1e6:,.1f} MB now; "
        f"{done.runs:,} runs and {done.scores:,} scores forgotten"
    )


@store.command()
@click.option(
    "-o", "--output", type=file_path(dir_okay=True), required=True, help="New folder to write."
)
@click.pass_obj
def export(obj: Any, output: Path) -> None:
    """Write the store's tables to a folder as Parquet, to keep or to import elsewhere.

    \b
    finsent-batch store export -o backup/2014-01-06
    """
    from finsent_batch.store.export import export_store
    from finsent_batch.store.store import Store

    with Store.open(obj.store, read_only=True) as opened:
        rows = export_store(opened, output)
    click.echo(f"wrote {output}: {rows['scores']:,} scores of {rows['runs']:,} runs")


@store.command("import")
@click.argument("folder", type=file_path(dir_okay=True))
@click.pass_obj
def import_(obj: Any, folder: Path) -> None:
    """Add to the store what the export in FOLDER has and the store has not.

    \b
    finsent-batch store import backup/2014-01-06
    finsent-batch --store both.duckdb store import other-machine
    """
    from finsent_batch.store.export import check_export, import_store
    from finsent_batch.store.store import Store

    check_export(folder)
    with Store.open(obj.store) as opened:
        added = import_store(opened, folder)
    click.echo(f"{opened.path}: {added['scores']:,} scores of {added['runs']:,} runs added")


@store.command()
@click.argument("input", metavar="INPUT")
@click.pass_obj
def forget(obj: Any, input: str) -> None:
    """Leave the rows of INPUT out of queries and views, as of a night that came twice.

    Its outputs and its scores stay as they are; scoring it again counts it again.
    INPUT is the path that was scored, for a table as FILE.duckdb::TABLE.

    \b
    finsent-batch store forget copy-of-monday.csv
    """
    from finsent_batch.store.publications import forget_input
    from finsent_batch.store.store import Store
    from finsent_batch.store.views import refresh_views

    with Store.open(obj.store, create=False) as opened:
        outputs = forget_input(opened, input)
        refresh_views(opened)
    click.echo(f"{opened.path}: {outputs:,} outputs of {input} are counted no more")
