"""What the shell completes beside commands and options: queries, models, runs, columns.

Each function answers with nothing rather than with an error: a shell has no use for one.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from finsent_batch.config import EMBEDDED_MODELS, PROMOTED_MODEL, StoreConfig

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_RUNS = 50


def _completing(
    find: Callable[[click.Context], Iterable[tuple[str, str]]], *, files: bool = False
) -> Complete:
    """Return a completion of (value, help) pairs that begin with what is typed, or by `files`."""

    def complete(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        try:
            found = list(find(ctx))
        except Exception:  # noqa: BLE001 - see above
            return []
        items = [CompletionItem(v, help=told) for v, told in found if v.startswith(typed)]
        return items or (complete_file(ctx, _, typed) if files else [])

    return complete


def _store(ctx: click.Context) -> StoreConfig:
    given = ctx.find_root().params.get("store_path")
    return StoreConfig(path=Path(given) if given else StoreConfig.path)


def _queries(_: click.Context) -> Iterable[tuple[str, str]]:
    from finsent_batch.queries.catalog import load_query, query_names

    return [(name, load_query(name).summary) for name in query_names()]


def _models(ctx: click.Context) -> Iterable[tuple[str, str]]:
    from finsent_batch.models.registry import list_models

    yield PROMOTED_MODEL, "the store's default"
    seen = {PROMOTED_MODEL}
    for row in list_models(_store(ctx)):
        name = str(row["model"])
        if name not in seen:
            seen.add(name)
            yield (
                name,
                "comes with finsent-batch" if name in EMBEDDED_MODELS else str(row["family"]),
            )


def _runs(ctx: click.Context) -> Iterable[tuple[str, str]]:
    from finsent_batch.store.store import Store

    with Store.open(_store(ctx), read_only=True) as store:
        return [
            (run_id, f"{status}, {told}")
            for run_id, status, told in store.query(
                f"SELECT run_id, status, input FROM runs ORDER BY started_at DESC LIMIT {_RUNS}"
            )
        ]


def _columns(ctx: click.Context) -> Iterable[tuple[str, str]]:
    """Return the columns of the input, or of `--data`: of a folder, those of a file in it."""
    import duckdb

    from finsent_batch.io.paths import is_input
    from finsent_batch.io.sql import quote_identifier, quote_literal

    # An option whose value is being typed ends the parsing: arguments are left as they came.
    named: Any = ctx.params.get("inputs") or ctx.params.get("data") or ctx.args
    file = Path(named if isinstance(named, str | Path) else named[0])
    if file.is_dir():
        file = next(f for f in sorted(file.rglob("*")) if is_input(f))
    source = quote_literal(str(file))
    with duckdb.connect(":memory:") as connection:
        table = ctx.params.get("table")
        if table:
            connection.execute(f"ATTACH {source} AS there (READ_ONLY)")
            source = f"there.{quote_identifier(table)}"
        rows = connection.execute(f"DESCRIBE FROM {source}").fetchall()
    return [(row[0], row[1]) for row in rows]


def complete_file(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Let the shell complete a file's name."""
    return [CompletionItem(typed, type="file")]


complete_query = _completing(_queries)
complete_model = _completing(_models, files=True)
complete_run = _completing(_runs)
complete_column = _completing(_columns)
