"""Run SQL over the store and over what was published: the packaged queries, or one's own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from ..config import StoreConfig
from ..errors import (
    BadDataError,
    FinsentError,
    StorageError,
    UsageError,
    first_line,
)
from ..io.duckdb_errors import Kind, classify, storage_problem
from ..io.objects.addresses import address_of, is_address, without_credentials
from ..io.whole.protected import check_free, protected
from .catalog import load_query
from .named import named_publications
from .parameters import (
    VIEW_PARAMETERS,
    check_columns,
    choose_evaluated,
    set_parameters,
    view_parameters,
)
from .result import Result, keep_plan, keep_result
from .session import QuerySession, query_session
from .statement import READS_ONLY, one_line, read_statement, set_variables

_FROM_FILES = (*VIEW_PARAMETERS, "headline_scores")
"""The views that there are over files without a store too."""


def run_query(
    name: str,
    store: StoreConfig,
    *,
    parameters: Sequence[tuple[str, str]] = (),
    published: str | None = None,
) -> pl.DataFrame:
    """Run one of `sql/`'s queries and return its rows.

    `published` names scored Parquet, CSV or DuckDB files (a file, a folder, a pattern or
    `file.duckdb::table`) for queries that read `scored_headlines`, `headline_scores` or
    `evaluated_headlines`; without it they read the latest publication of each input, the
    scores or all predictions that the store knows of.

    Raises:
        UsageError: unknown query.
        ParameterError: a parameter is missing, unknown, of the wrong type, or names no column.
        MissingInputError: nothing was published or evaluated, or the files are gone.
        TryAgainError: a job is writing to the store.
    """
    return to_polars(run_query_arrow(name, store, parameters=parameters, published=published))


def run_query_arrow(
    name: str,
    store: StoreConfig,
    *,
    parameters: Sequence[tuple[str, str]] = (),
    published: str | None = None,
) -> pa.Table:
    """Run one of `sql/`'s queries as `run_query` does and return an Arrow table."""
    with open_query(name, store, parameters=parameters, published=published) as result:
        return result.to_arrow()


@contextmanager
def open_query(
    name: str,
    store: StoreConfig,
    *,
    parameters: Sequence[tuple[str, str]] = (),
    published: str | None = None,
    writes_to: Path | None = None,
) -> Iterator[Result]:
    """Run one of `sql/`'s queries as `run_query` does and give its rows while they are kept.

    They can be written to `writes_to`.
    """
    query = load_query(name)
    view = next((v for v in VIEW_PARAMETERS if query.reads(v)), None)
    about = view_parameters(query)
    columns = dict(p for p in parameters if p[0] in about)
    own = [p for p in parameters if p[0] not in about]
    if published is not None and not any(map(query.reads, _FROM_FILES)):
        raise UsageError(f"query {name} reads the store, not published rows: leave out --from")
    with query_session(
        store, published, view, columns, needs_times=query.reads("news_time"), writes_to=writes_to
    ) as session:
        set_parameters(session.connection, query, own, about)
        check_columns(session.connection, query, own)
        choose_evaluated(session.connection, query, own)
        try:
            result = _keep_readable(
                session, partial(keep_result, session.connection, query.text, {})
            )
        except duckdb.Error as error:
            if view is None:
                raise
            raise BadDataError(f"published rows cannot be read: {first_line(error)}") from None
        yield result


def run_sql(
    statement: str,
    store: StoreConfig,
    *,
    parameters: Mapping[str, object] | None = None,
    published: str | None = None,
) -> pa.Table:
    """Run one SELECT of the user's own and return an Arrow table.

    It sees the store's tables and views, or with `published` only those over these files; it
    can write nowhere and read no other file. `parameters` are the values of its `$name`s and
    of `getvariable('name')`.

    Raises:
        UsageError: more than one statement, one that does not only read, or bad SQL.
        BadDataError: a published file is damaged.
        MissingInputError, TryAgainError: as `run_query`.
    """
    with open_sql(statement, store, parameters=parameters, published=published) as result:
        return result.to_arrow()


@contextmanager
def open_sql(
    sql: str,
    store: StoreConfig,
    *,
    parameters: Mapping[str, object] | None = None,
    published: str | None = None,
    writes_to: Path | None = None,
) -> Iterator[Result]:
    """Run one SELECT as `run_sql` does and give its rows while they are kept."""
    statement = read_statement(sql)
    view = "scored_headlines" if published is not None else None
    for name in ("scored_headlines", "daily_sentiment", "evaluated_headlines"):
        if statement.reads(name):
            view = "evaluated_headlines" if name.startswith("eval") else "scored_headlines"
            break
    about = VIEW_PARAMETERS.get(view or "", ())
    given = dict(parameters or {})
    columns = {k: str(v) for k, v in given.items() if k in about and k not in statement.places}
    values = {name: value for name, value in given.items() if name not in columns}
    statement.check_parameters(values)
    times = statement.reads("news_time") or statement.reads("daily_sentiment")
    with query_session(
        store, published, view, columns,
        needs_times=times, may_be_empty=True, writes_to=writes_to,
    ) as session:  # fmt: skip
        set_variables(session.connection, values)
        bound = {name: values[name] for name in statement.places}
        keep = keep_plan if statement.is_explain else keep_result
        try:
            result = _keep_readable(
                session, partial(keep, session.connection, statement.text, bound)
            )
        except duckdb.Error as error:
            raise _refused(error) from None
        yield result


def _refused(error: duckdb.Error) -> FinsentError:
    """Return what was wrong with a statement, or with what it reads."""
    match classify(error):
        case Kind.OUT_OF_REACH:
            return UsageError(
                "--sql reaches the store and what was published, no other file: name a scored "
                "file with --from"
            )
        case Kind.OUT_OF_MEMORY:
            return UsageError(f"--sql: {first_line(error)}: raise --memory-limit, or ask for less")
        case Kind.READ_ONLY:
            return UsageError(READS_ONLY.format("a write in a SELECT"))
        case Kind.DAMAGED:
            return BadDataError(f"published rows cannot be read: {first_line(error)}")
        case Kind.DISK_FULL | Kind.IO_FAILED:
            return StorageError(f"{storage_problem(error)} and run again")
        case _:
            return UsageError(f"--sql: {one_line(error)}")


def check_query_output(output: Path, store: StoreConfig, published: str | None) -> None:
    """Check that a query's result replaces neither the store nor what runs read or wrote.

    Raises:
        UsageError: it would.
    """
    if (address := address_of(output)) is not None:
        raise UsageError(
            f"-o {without_credentials(address)}: a query's result is a file of this machine: copy "
            "it then"
        )
    check_free(output, protected(store=store.path))
    if published is not None and is_address(published):
        known = []
    elif published is not None:
        known = [p.path for p in named_publications(published, Path())]
    elif store.path.expanduser().exists():
        with query_session(store, None, None, {}) as session:
            rows = session.connection.execute("SELECT input, output FROM run_files").fetchall()
        known = [name for row in rows for name in row]
    else:
        known = []
    check_free(output, dict.fromkeys(map(Path, known), "a run's input or output"))


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Return an Arrow table as a polars frame."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _keep_readable(session: QuerySession, keep: Callable[[], Result]) -> Result:
    """Run SQL; if a published table turns out to be damaged, over the others."""
    try:
        return keep()
    except (duckdb.PermissionException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error:
        if not session.leave_out_unreadable():
            raise
        return keep()
