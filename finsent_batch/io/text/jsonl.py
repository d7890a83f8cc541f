"""JSON lines: one object a line, checked and staged to Parquet.

A column has the type that all its values share: text, true and false, whole numbers, numbers.
Where they differ, where a number would lose digits, and for lists and objects, it holds each value
as the file writes it. A key that a line lacks is NULL there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import BadDataError
from ..columns import NESTED, check_column_names
from ..csv_text import open_text
from .compression import misnamed
from .encoding import check_encoding
from .staged import BadRow, StagedText, how_to_go_on

_BATCH_ROWS = 65_536
_DECODER = json.JSONDecoder()
_BLANK = " \t\r\n"
_RAW_JSON = {b"finsent_raw_json": b"1"}
Members = list[tuple[str, Any, str]]
"""Of an object: key, value, and the value as it is written."""


@dataclass
class _Kinds:
    """What the values of a column are."""

    found: set[str] = field(default_factory=set)
    exact: bool = True
    """Whether its numbers fit their types to the last digit."""
    small: bool = True
    """Whether its whole numbers are ones that every float of their size is next to."""

    def add(self, value: Any, raw: str) -> None:
        if value is None:
            return
        self.found.add(type(value).__name__)
        if type(value) is int:
            self.exact &= -(2**63) <= value < 2**63
            self.small &= abs(value) <= 2**53
        elif type(value) is float:
            self.exact &= _is_exact(raw, value)

    def arrow(self) -> pa.DataType:
        if self.found == {"bool"}:
            return pa.bool_()
        if self.found == {"int"} and self.exact:
            return pa.int64()
        if self.found <= {"int", "float"} and self.found and self.exact and self.small:
            return pa.float64()
        return pa.string()

    def field(self, name: str) -> pa.Field:
        """Return the column, marked where each value is JSON as it was written, or some are."""
        raw = self.arrow() == pa.string() and "str" not in self.found and self.found
        inexact = "float" in self.found and not self.exact
        marks = dict(_RAW_JSON) if raw and not inexact else {}
        if self.found & {"dict", "list"}:
            marks[NESTED] = b"1"
        return pa.field(name, self.arrow(), metadata=marks or None)


def is_raw_json(column: pa.Field) -> bool:
    """Return whether each text of a column is a JSON value, as a file of JSON lines wrote it."""
    return pa.types.is_string(column.type) and _RAW_JSON.items() <= (column.metadata or {}).items()


def stage_jsonl(path: Path, folder: Path, *, encoding: str, max_bad_rows: int | None) -> StagedText:
    """Write a file of JSON lines, compressed or not, as Parquet into `folder` and return it.

    Raises:
        MissingInputError: no such file.
        UsageError: unknown encoding.
        BadDataError: not in that encoding, no rows, or more lines that are no object than allowed.
    """
    check_encoding(path, encoding, "one JSON object on a line")
    kinds: dict[str, _Kinds] = {}
    bad: list[BadRow] = []
    for _, members in _objects(path, encoding, bad):
        for key, value, raw in members:
            kinds.setdefault(key, _Kinds()).add(value, raw)
    if bad and (not kinds or bad[0].text.startswith("[")):
        raise BadDataError(
            f"{path} line {bad[0].line}: {bad[0].reason}, as in a file of one JSON document: "
            "write each object on a line of its own"
        )
    if len(bad) > (max_bad_rows or 0):
        raise BadDataError(
            f"{path} line {bad[0].line}: {bad[0].reason} ({len(bad)} such lines): "
            + how_to_go_on(len(bad), may_set_aside=max_bad_rows is not None)
        )
    if not kinds:
        raise BadDataError(f"{path} holds no JSON objects: it needs one a line")
    check_column_names(list(kinds), path)
    schema = pa.schema([kind.field(key) for key, kind in kinds.items()])
    staged = folder / f"{len(list(folder.iterdir()))}.parquet"
    with pq.ParquetWriter(staged, schema, compression="lz4") as writer:
        for batch in _batches(path, encoding, schema):
            writer.write_batch(batch)
    note = misnamed(path)
    nested = tuple(f.name for f in schema if NESTED in (f.metadata or {}))
    notes = (note,) if note else ()
    return StagedText(file=staged, bad_rows=tuple(bad), notes=notes, nested=nested)


def _objects(path: Path, encoding: str, bad: list[BadRow]) -> Iterator[tuple[int, Members]]:
    with open_text(path, encoding) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                members = _members(line)
                if "\\u" in line:  # half a character is no text
                    json.dumps([m[:2] for m in members], ensure_ascii=False).encode()
            except (ValueError, RecursionError) as error:
                problem = (
                    "half a character" if isinstance(error, UnicodeError) else "no JSON object"
                )
                bad.append(BadRow(line=number, problem=problem, text=line.rstrip("\r\n")))
            else:
                yield number, members


def _members(line: str) -> Members:
    """Take an object apart.

    Raises:
        ValueError: it is none, or has a key twice.
    """
    members: Members = []
    at = _skip(line, 0, "{")
    if line[at : at + 1] == "}":
        at += 1
    else:
        while True:
            key, at = _DECODER.raw_decode(line, _skip(line, at, '"') - 1)
            at = _skip(line, at, ":")
            value, end = _DECODER.raw_decode(line, at)
            members.append((key, value, line[at:end]))
            at = end
            while line[at : at + 1] in _BLANK and at < len(line):
                at += 1
            if line[at : at + 1] == "}":
                at += 1
                break
            at = _skip(line, at, ",")
    if line[at:].strip() or len({m[0] for m in members}) < len(members):
        raise ValueError(line)
    return members


def _skip(line: str, at: int, wanted: str) -> int:
    """Return where the value after a mark begins, blanks around it passed."""
    while at < len(line) and line[at] in _BLANK:
        at += 1
    if line[at : at + 1] != wanted:
        raise ValueError(wanted)
    at += 1
    while wanted != '"' and at < len(line) and line[at] in _BLANK:
        at += 1
    return at


def _batches(path: Path, encoding: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    texts = {f.name for f in schema if f.type == pa.string()}
    for _, members in _objects(path, encoding, []):
        rows.append({key: _kept(value, raw, key in texts) for key, value, raw in members})
        if len(rows) == _BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)
            rows = []
    yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _kept(value: Any, raw: str, as_text: bool) -> Any:
    return raw if as_text and value is not None and not isinstance(value, str) else value


def _is_exact(raw: str, value: float) -> bool:
    try:
        return Decimal(raw) == Decimal(repr(value))
    except InvalidOperation:  # NaN, Infinity
        return True
