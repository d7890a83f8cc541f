"""Tables that `score` wrote, checked before anything is learned from them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import (
    BadDataError,
    MissingInputError,
    NoRoomError,
    UnavailableError,
    UsageError,
)
from ..hardware import main_memory
from ..io.columns import RowSchema, choose_text_column
from ..io.paths import suffix_of
from ..io.sql import quote_identifier
from ..labels import LABELS

COLUMNS: Final = tuple(f"p_{label}" for label in LABELS)
_UNSCORED: Final = ("empty", "invalid")
# Sums of three rounded float32 are within 1e-6; other tools round more coarsely.
_TOLERANCE: Final = 0.01
# On disk, of a row and a teacher: text, key and probabilities in DuckDB; token ids. In memory:
# its place in an epoch's order.
_ROW_BYTES: Final = 400
_ROW_MEMORY: Final = 250
MEMORY: Final = 10**9
"""What DuckDB may hold before it spills, in bytes."""


@dataclass(frozen=True, kw_only=True)
class ScoredTable:
    """A Parquet file with headlines and their probabilities."""

    file: Path
    text_column: str
    columns: tuple[str, ...]
    rows: int

    @property
    def scored(self) -> str:
        """The SQL condition of rows that `score` answered."""
        headline = f"trim({quote_identifier(self.text_column)}) <> ''"
        if "score_status" not in self.columns:
            return headline
        unscored = ", ".join(f"'{status}'" for status in _UNSCORED)
        return f"{headline} AND coalesce(score_status, '') NOT IN ({unscored})"


def open_table(file: Path, text_column: str | None) -> ScoredTable:
    """Return a table whose columns are those of `score`.

    Raises:
        MissingInputError: no such file.
        UsageError: it is no Parquet file by its name.
        BadDataError: it cannot be read, or lacks a column.
    """
    if not file.is_file():
        raise MissingInputError(f"--soft-labels {file} does not exist: check the path")
    if suffix_of(file) != ".parquet":
        raise UsageError(
            f"--soft-labels {file}: soft labels are read from Parquet; score with "
            f"-o {file.name.partition('.')[0]}.scored.parquet"
        )
    try:
        schema, rows = pq.read_schema(file), pq.read_metadata(file).num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadDataError(f"{file} is not a readable Parquet file ({reason})") from None
    absent = [name for name in COLUMNS if name not in schema.names]
    if absent:
        others = [name for name in schema.names if name.startswith("p_")]
        what = f"; its {', '.join(others)} are a model's with other labels" if others else ""
        raise BadDataError(
            f"{file} has no column {', '.join(absent)}{what}: give what finsent-batch score wrote"
        )
    for name in COLUMNS:
        if not pa.types.is_floating(schema.field(name).type):
            raise BadDataError(
                f"{file}: {name} holds {schema.field(name).type}, not a probability: give what "
                "finsent-batch score wrote"
            )
    try:
        text = choose_text_column(RowSchema(arrow=schema), text_column, file)
    except BadDataError as error:
        raise BadDataError(str(error).replace("--text-column", "--soft-text-column")) from None
    return ScoredTable(file=file, text_column=text, columns=tuple(schema.names), rows=rows)


def check_room(tables: Sequence[ScoredTable], folder: Path) -> None:
    """Compare what a transfer set of these tables needs with what there is.

    Raises:
        NoRoomError: the disk of `folder` has too little room.
        UnavailableError: this machine has too little memory.
    """
    rows = sum(table.rows for table in tables)
    needed, free = rows * _ROW_BYTES, shutil.disk_usage(folder).free
    if needed > free:
        raise NoRoomError(
            f"{rows:,} rows of soft labels need about {needed / 1e9:.1f} GB beside the model, and "
            f"{folder} has {free / 1e9:.1f} GB free: make room, or give -o on another disk"
        )
    memory = MEMORY + rows * _ROW_MEMORY
    if memory > main_memory():
        raise UnavailableError(
            f"{rows:,} rows of soft labels need about {memory / 1e9:.1f} GB of memory, and there "
            f"are {main_memory() / 1e9:.1f}: give fewer rows"
        )


def check_probabilities(connection: duckdb.DuckDBPyConnection, table: ScoredTable) -> None:
    """Look at every row of a table once.

    Raises:
        BadDataError: naming how many rows are wrong, and in which way.
    """
    absent = " OR ".join(f"{name} IS NULL OR isnan({name})" for name in COLUMNS)
    outside = " OR ".join(f"{name} < -1e-6 OR {name} > 1 + 1e-6" for name in COLUMNS)
    total = " + ".join(COLUMNS)
    row = connection.execute(
        f"SELECT count(*) FILTER (WHERE {absent}), "
        f"count(*) FILTER (WHERE NOT ({absent}) AND ({outside})), "
        f"count(*) FILTER (WHERE NOT ({absent}) AND abs({total} - 1) > {_TOLERANCE}) "
        f"FROM read_parquet($1) WHERE {table.scored}",
        [str(table.file)],
    ).fetchone()
    assert row is not None
    unknown, beyond, off = row
    others = sorted(name for name in table.columns if name.startswith("p_") and name not in COLUMNS)
    of_others = f" (it has {', '.join(others)} too: a model with other labels?)" if others else ""
    for count, what in (
        (unknown, "have NULL where a probability should be, and do not say that they were not "
                  "scored"),
        (beyond, "have probabilities below 0 or above 1"),
        (off, f"have probabilities that do not add up to 1{of_others}"),
    ):  # fmt: skip
        if count:
            raise BadDataError(f"{table.file}: {count} rows {what}: score it again")
