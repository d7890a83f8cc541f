"""Which outputs count: of each input the latest that is there, and what became of the others."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from ..io.duckdb_append import input_name
from ..io.duckdb_files import TableEntry
from ..io.objects.addresses import is_address
from ..io.sql import folded, own_name
from ..wording import in_shell
from .publications import (
    NEWEST,
    Publication,
    grouped,
    is_shared,
    is_there,
    path_of,
    records,
    table_names_of,
)
from .store import Store

Row = dict[str, Any]
"""A row of `run_files`, with `limited`, `there` and `shared`."""
Source = tuple[str, str | None]


def latest_publications(store: Store) -> list[Publication]:
    """Return one output for each input ever scored: the latest that still exists.

    A run with --limit, a trial, does not take the place of a whole one; an input that
    was forgotten has none.
    """
    rows = filter(None, (_choice(rows) for rows in _candidates(store).values()))
    return sorted(grouped(rows), key=lambda p: (p.path, p.table or "", p.made_from))


def spared_outputs(store: Store) -> list[str]:
    """Return the files of latest outputs in whose place, once they are gone, older ones count."""
    found = set()
    for rows in _candidates(store).values():
        latest = _choice(rows)
        if (
            latest is not None
            and any(row["there"] and row["output"] != latest["output"] for row in rows)
            and not is_address(latest["output"])
        ):
            found.add(path_of(latest))
    return sorted(found)


def gone_notes(store: Store) -> list[str]:
    """Return what is to be said of outputs that were moved or deleted, one line each kind."""
    lost: dict[str, Row] = {}
    replaced: dict[str, tuple[Row, Row]] = {}
    for (path, _), rows in _candidates(store).items():
        wanted, found = _choice(rows, there=False), _choice(rows)
        assert wanted is not None
        if wanted["there"] or wanted["limited"]:
            continue
        if found is None:
            lost[input_name(path, wanted["input_table"])] = wanted
        else:
            replaced[input_name(path, wanted["input_table"])] = (wanted, found)
    notes = []
    if lost:
        name, row = next(iter(lost.items()))
        more = f" and those of {len(lost) - 1} more inputs" if len(lost) > 1 else ""
        count = sum(row["rows"] or 0 for row in lost.values())
        notes.append(
            f"{_output(row)}, the output of {name},{more} {'are' if more else 'is'} gone: "
            f"{count:,} rows are not counted; score again what should count, or leave it out for "
            f"good with finsent-batch store forget {in_shell(name)}"
        )
    for name, (wanted, found) in list(replaced.items())[:3]:
        notes.append(
            f"{_output(wanted)}, the last output of {name}, is gone: {_output(found)} counts, "
            "which was made before"
        )
    return notes


def _output(row: Row) -> str:
    return input_name(row["output"], row["output_table"])


def _choice(rows: Iterable[Row], *, there: bool = True) -> Row | None:
    """Return the latest of an input's rows that is there and whole, else the latest trial."""
    found = [row for row in rows if row["there"] or not there]
    return next((row for row in found if not row["limited"]), found[0] if found else None)


def _candidates(store: Store) -> dict[Source, list[Row]]:
    """Return each input's outputs, the latest first; those that were replaced are left out.

    What inputs do not share holds the rows of the one that wrote it last.
    """
    rows = records(
        store,
        f"""SELECT f.*, row_limit IS NOT NULL OR options->>'limit' IS NOT NULL AS limited
        FROM run_files AS f LEFT JOIN runs USING (run_id) ORDER BY {NEWEST}""",
    )
    tables: dict[str, dict[str, TableEntry]] = {}
    shared: dict[tuple[str, str | None], bool] = {}
    written: set[tuple[object, ...]] = set()
    writer: dict[tuple[str, str | None], Source] = {}
    found: dict[Source, list[Row]] = {}
    for row in rows:
        target = (row["output"], folded(row["output_table"]))
        source = (row["input"], folded(row["input_table"]))
        replaced = (*target, *source) in written
        written.add((*target, *source))
        writer.setdefault(target, source)
        if replaced or row["forgotten_at"]:
            continue
        row["there"] = _is_there(store.connection, row, tables)
        if target not in shared:
            shared[target] = row["there"] and is_shared(store.connection, *target)
        row["shared"] = shared[target]
        if row["there"] and not row["shared"] and writer[target] != source:
            continue
        found.setdefault(source, []).append(row)
    return found


def _is_there(
    connection: duckdb.DuckDBPyConnection,
    row: Row,
    tables: dict[str, dict[str, TableEntry]],
) -> bool:
    output, table = row["output"], row["output_table"]
    if table is None or not Path(output).exists():
        return table is None and is_there(row)
    if output not in tables:
        tables[output] = table_names_of(connection, output)
    return own_name(tables[output], table) is not None
