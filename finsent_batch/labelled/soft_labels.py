"""Soft labels: what teachers answered, as tables that `score` wrote, for a student to learn from.

Distillation (Hinton et al. 2015): the probabilities of a large model say more of a
headline than a label does, and cost nobody's time. Several tables are averaged headline
by headline. All of it streams through a DuckDB file beside the model: a million rows take
no more memory than ten thousand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt

from ..errors import BadDataError, TryAgainError
from ..headlines import key_sql, normalize_sql
from ..io.paths import sha256_file
from ..io.sql import quote_identifier
from .duplicates import duplicate_key
from .near_duplicates import HeldOut
from .soft_tables import (
    COLUMNS,
    MEMORY,
    ScoredTable,
    check_probabilities,
    check_room,
    open_table,
)

CONFIDENT: Final = 0.9
"""P(neutral) from which a headline counts as confidently neutral."""
_BATCH: Final = 20_000

Targets = npt.NDArray[np.float32]


@dataclass(kw_only=True)
class SoftLabels:
    """Teachers' answers, to be read once; `counts` is complete when they have been."""

    connection: duckdb.DuckDBPyConnection
    files: list[dict[str, Any]]
    """What the manifest says of each table: name, SHA-256, rows, headlines a model."""
    counts: dict[str, int] = field(default_factory=dict)
    of_training: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Answers for training rows, by `duplicate_key`."""

    def notes(self) -> dict[str, Any]:
        """Return what the manifest says of all of them."""
        return {"files": self.files, **self.counts}


def open_soft_labels(files: Sequence[Path], folder: Path, *, text_column: str | None) -> SoftLabels:
    """Check the tables, and average them headline by headline in a file in `folder`.

    Raises:
        MissingInputError: no such file.
        BadDataError: it is no table of `score`, or its probabilities are none.
        StorageError, UnavailableError: `folder` has too little room, or this machine memory.
        TryAgainError: a table changes just now.
    """
    tables = [open_table(file, text_column) for file in files]
    check_room(tables, folder)
    connection = duckdb.connect(
        str(folder / "soft_labels.duckdb"),
        config={"memory_limit": f"{MEMORY}B", "temp_directory": str(folder / "soft_labels.tmp")},
    )
    connection.execute("SET enable_progress_bar = false")
    types = ", ".join(f"{name} DOUBLE" for name in COLUMNS)
    connection.execute(f"CREATE TABLE answers (file VARCHAR, key UUID, headline VARCHAR, {types})")
    notes = []
    for table in tables:
        digest = sha256_file(table.file)
        check_probabilities(connection, table)
        notes.append({**_read(connection, table), "sha256": digest})
        if sha256_file(table.file) != digest:
            raise TryAgainError(
                f"{table.file} changed while it was read: run the same command again"
            )
    if not any(note.get("models", True) for note in notes):
        raise BadDataError("--soft-labels: no row of the tables was scored: score them again")
    return SoftLabels(connection=connection, files=notes)


def _read(connection: duckdb.DuckDBPyConnection, table: ScoredTable) -> dict[str, Any]:
    """Add a table's answers, one a headline; return what the manifest says of it."""
    file = str(table.file)
    means = ", ".join(f"avg({name})" for name in COLUMNS)
    text = f"{quote_identifier(table.text_column)}::VARCHAR"
    source = (
        f"SELECT {normalize_sql(text)} AS n, {', '.join(COLUMNS)} "
        f"FROM read_parquet($1) WHERE {table.scored}"
    )
    connection.execute(
        f"INSERT INTO answers SELECT $2, {key_sql('n')}, n, {means} FROM ({source}) "
        "WHERE n <> '' GROUP BY n",
        [file, table.file.name],
    )
    notes: dict[str, Any] = {"file": table.file.name, "rows": table.rows}
    if "model_fingerprint" in table.columns:
        notes["models"] = dict(
            connection.execute(
                "SELECT coalesce(model_fingerprint, 'unknown'), count(*) FROM read_parquet($1) "
                f"WHERE {table.scored} GROUP BY ALL ORDER BY ALL",
                [file],
            ).fetchall()
        )
    return notes


def soft_rows(
    labels: SoftLabels,
    training: set[str],
    held_out: HeldOut,
    *,
    neutral_share: float,
    drop_held_out: bool,
) -> Iterator[tuple[list[str], Targets]]:
    """Yield headlines and mean probabilities, shape (n, 3), in an order of their keys.

    Headlines of the `training` set, by `duplicate_key`, are not among them; their answers
    go to `labels.of_training`. Of the confidently neutral ones `neutral_share` are kept,
    the same ones in every run.

    Raises:
        BadDataError: at the end, where headlines repeat held-out ones and are not to be dropped.
    """
    means = ", ".join(f"avg({name})" for name in COLUMNS)
    reader = labels.connection.execute(
        f"SELECT CAST(key AS VARCHAR), any_value(headline), {means} FROM answers GROUP BY key "
        "ORDER BY key"
    )
    counts = labels.counts
    counts.update(headlines=0, of_training_rows=0, held_out=0, thinned=0, used=0)
    repeated: list[str] = []
    while rows := reader.fetchmany(_BATCH):
        headlines: list[str] = []
        targets: list[tuple[float, float, float]] = []
        for uuid, headline, *answer in rows:
            counts["headlines"] += 1
            found = (answer[0], answer[1], answer[2])
            if (key := duplicate_key(headline)) in training:
                counts["of_training_rows"] += 1
                labels.of_training[key] = found
            elif held_out.near(headline):
                counts["held_out"] += 1
                repeated.append(uuid)
            elif found[1] >= CONFIDENT and int(uuid[:8], 16) >= neutral_share * 2**32:
                counts["thinned"] += 1
            else:
                headlines.append(headline)
                targets.append(found)
        counts["used"] += len(headlines)
        if headlines:
            probabilities = np.array(targets, dtype=np.float32)
            yield headlines, probabilities / probabilities.sum(axis=1, keepdims=True)
    if repeated and not drop_held_out:
        raise _repeats(labels.connection, repeated)


def _repeats(connection: duckdb.DuckDBPyConnection, keys: list[str]) -> BadDataError:
    """Return the error that names which tables hold held-out headlines, how many, and one."""
    rows = connection.execute(
        "SELECT file, count(*), min(left(headline, 80)) FROM answers "
        "WHERE key IN (SELECT CAST(unnest($1::VARCHAR[]) AS UUID)) GROUP BY file ORDER BY file",
        [keys],
    ).fetchall()
    told = ", ".join(f"{count} headlines of {file}" for file, count, _ in rows)
    return BadDataError(
        f"{told} repeat validation or test rows, word for word or nearly, such as "
        f"{rows[0][2]!r}: leave them out with --drop-held-out"
    )
