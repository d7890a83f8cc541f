"""What the store recorded of files that a user names, and that cannot say it themselves."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..config import StoreConfig
from ..errors import FinsentError
from ..io.columns import NewsColumns
from ..store.publications import NEWEST, Publication, columns_of, is_shared, records
from ..store.store import Store

logger = logging.getLogger(__name__)


def as_recorded(store: StoreConfig, publications: Sequence[Publication]) -> list[Publication]:
    """Return publications with the columns that were settled when they were scored.

    Parquet files say so themselves. Of others the store knows, if there is one that published
    them: their times are read in the zone and the order that were given then.
    """
    if not store.path.expanduser().exists() or all(p.columns is not None for p in publications):
        return list(publications)
    try:
        with Store.open(store, read_only=True) as opened:
            return [p if p.columns is not None else _recorded(opened, p) for p in publications]
    except FinsentError as error:
        logger.warning("what the store knows of the files is not used: %s", error)
        return list(publications)


def _recorded(store: Store, publication: Publication) -> Publication:
    path, table = str(Path(publication.path).resolve()), publication.table
    rows = records(
        store,
        f"""FROM run_files WHERE output = ? AND lower(output_table) IS NOT DISTINCT FROM lower(?)
        QUALIFY row_number() OVER (PARTITION BY input, input_table ORDER BY {NEWEST}) = 1
        ORDER BY {NEWEST}""",
        [path, table],
    )
    if not rows:
        return publication
    found = [columns_of(row) for row in rows]
    different = {_spelled_alike(columns) for columns in found}
    if len(different) > 1 and is_shared(store.connection, path, table):
        logger.warning(
            "%s holds inputs whose times were read in several ways when they were scored: here "
            "they are read in one; leave out --from to read each as it was",
            publication.path,
        )
        return publication
    return replace(publication, columns=found[0], limited=rows[0]["row_limit"] is not None)


def _spelled_alike(columns: NewsColumns | None) -> NewsColumns | None:
    """Return columns with their names in small letters: a shared table spells them in one way."""
    if columns is None:
        return None
    text, date = columns.text_column, columns.date_column
    return replace(columns, text_column=text and text.lower(), date_column=date and date.lower())
