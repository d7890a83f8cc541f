"""The scored files that a user names: one, a folder of them, or a pattern."""

import glob
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import duckdb

from ..errors import FinsentError, MissingInputError, UsageError
from ..io.lake.delta import is_delta
from ..io.lake.tables import check_no_lake_table
from ..io.objects.addresses import ADDRESSES, check_no_credentials, is_address
from ..io.paths import suffix_of
from ..io.result_columns import RESULT_SCHEMA
from ..io.whole.system_errors import check_reachable, files_below, matching
from ..store.object_copies import fetched
from ..store.publications import Publication, named
from ..store.published_tables import describe
from ..wording import counted

logger = logging.getLogger(__name__)

_SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")


def named_publications(published: str, work: Path) -> list[Publication]:
    """Return what a user names as a file, FILE.duckdb::TABLE, a folder or a pattern.

    Objects of a bucket are copied to the folder `work`.

    Raises:
        UsageError: it is an address of another kind, or one that holds credentials.
        MissingInputError: there is none.
        BadDataError: a folder is a table of a format whose files do not all count.
    """
    path = Path(published)
    if not published:
        raise MissingInputError("--from names nothing: give a file, a folder or a pattern")
    check_no_credentials(published)
    if is_address(published):
        return [named(str(file)) for file in fetched(published, work, _SUFFIXES)]
    if "://" in published:
        raise UsageError(f"--from {published}: name files of this machine, or {ADDRESSES} ones")
    check_reachable(path)
    if is_delta(path):
        return [Publication(path=published)]
    if path.is_dir():
        check_no_lake_table(path)
        files = sorted(_meant(path))
        if not files:
            raise MissingInputError(
                f"the folder {published} has no {', '.join(_SUFFIXES)} file: check --from"
            )
    elif not path.exists() and glob.has_magic(published):
        files = [file for file in matching(published) if file.is_file()]
        if not files:
            raise MissingInputError(f"no file is named {published}: check --from")
    else:
        return [named(published)]
    return [named(str(file)) for file in files]


def _meant(folder: Path) -> Iterator[Path]:
    """Yield the scored files below a folder, without those that are hidden."""
    for parent, folders, names in files_below(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            file = parent / name
            if not name.startswith((".", "_")) and file.is_file() and suffix_of(file) in _SUFFIXES:
                yield file


def scored_ones(
    connection: duckdb.DuckDBPyConnection, publications: Sequence[Publication], wanted: str
) -> list[Publication]:
    """Return those of a folder's or pattern's files that `score` wrote, and say how many others.

    A file that cannot be read is kept: whoever reads it says why.

    Raises:
        MissingInputError: none has labels.
    """
    if len(publications) == 1:
        return list(publications)
    kept = [found for found in publications if _is_scored(connection, found)]
    others = len(publications) - len(kept)
    if not kept:
        raise MissingInputError(
            f"none of the {others} files of {wanted} has labels: name outputs of score with --from"
        )
    if others:
        logger.warning(
            "%s of %s without labels left out: not written by score",
            counted(others, "file"), wanted,
        )  # fmt: skip
    return kept


def _is_scored(connection: duckdb.DuckDBPyConnection, publication: Publication) -> bool:
    try:
        return set(RESULT_SCHEMA.names) <= set(describe(connection, publication).names)
    except FinsentError:
        return True
