"""CSV files: decoded, parsed and checked once, then staged to Parquet.

Every value stays the text it is in the file: guessing types would turn the
ticker `0700` into 700. An empty field is NULL, a quoted empty one is ''.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from ..errors import BadDataError, first_line
from .columns import check_column_names
from .csv_text import (
    Utf8Stream,
    check_dialect,
    fits,
    open_text,
    read_header,
)
from .text.compression import misnamed
from .text.dialect import BACKSLASH, LARGEST_ROW_BYTES, Dialect
from .text.encoding import check_encoding
from .text.quotes import QuoteScan
from .text.staged import BadRow, StagedText, how_to_go_on

_BLOCK_BYTES = 1 << 22
_TRAILING = "\x01"
"""Stands for the name of the empty field behind the last one."""


@dataclass(kw_only=True)
class _Staging:
    """One file on its way."""

    path: Path
    encoding: str
    dialect: Dialect
    schema: pa.Schema
    staged: Path
    skipped: list[BadRow]

    @property
    def columns(self) -> int:
        return len(self.schema)


def stage_csv(
    path: Path,
    folder: Path,
    *,
    encoding: str,
    max_bad_rows: int | None,
    delimiter: str | None = None,
    escape: str | None = None,
    quote: str | None = None,
) -> StagedText:
    """Write a CSV file, compressed or not, as Parquet into `folder` and return it.

    `max_bad_rows` None allows none, and says nothing of setting them aside.

    Raises:
        MissingInputError: no such file.
        UsageError: unknown encoding.
        BadDataError: not in that encoding, no header, quotes that leave open where a field ends,
            or more bad rows than allowed.
    """
    check_encoding(path, encoding, "a header line")
    header, dialect = read_header(path, encoding, delimiter=delimiter, escape=escape, quote=quote)
    check_column_names(header, path)
    staging = _Staging(
        path=path,
        encoding=encoding,
        dialect=dialect,
        schema=pa.schema([(name, pa.string()) for name in header]),
        staged=folder / f"{len(list(folder.iterdir()))}.parquet",
        skipped=[],
    )
    block = _BLOCK_BYTES
    while (scan := _convert(staging, block, explicit=escape is not None)) is None:
        block *= 4
        if block > LARGEST_ROW_BYTES:
            raise BadDataError(
                f"{path} has a row of more than 64 MB: check its quotes, or write it as Parquet"
            )
    bad = tuple(_with_lines(staging))
    if len(bad) > (max_bad_rows or 0):
        raise _too_many(staging, bad, scan, may_set_aside=max_bad_rows is not None)
    notes = [misnamed(path)]
    if dialect.trailing:
        notes.append(f"{path}: the empty field behind the last delimiter of each row is left out")
    return StagedText(
        file=staging.staged, bad_rows=bad, notes=tuple(note for note in notes if note)
    )


def _too_many(
    staging: _Staging, bad: tuple[BadRow, ...], scan: QuoteScan, *, may_set_aside: bool
) -> BadDataError:
    """Return what to say of rows that do not parse: another dialect, or how to go on."""
    first, path, dialect = bad[0], staging.path, staging.dialect
    escaped = Dialect(delimiter=dialect.delimiter, escape=BACKSLASH, skipped=dialect.skipped)
    may_escape = scan.backslashes and dialect.escape is None
    if may_escape and fits(path, staging.encoding, escaped, staging.columns):
        return BadDataError(
            f"{path} escapes with backslashes (line {first.line}): read it with --escape '\\'"
        )
    one_column = replace(dialect, delimiter="\t")
    if may_set_aside and staging.columns == 1 and fits(path, staging.encoding, one_column, 1):
        return BadDataError(
            f"{path} line {first.line}: {first.reason}: if its lines are one column, commas and "
            "all, read it with --input-format tsv, else correct the file"
        )
    if not pq.read_metadata(staging.staged).num_rows:
        return BadDataError(
            f"{path} line {first.line}: {first.reason}, and no row has those of the header: let "
            "the header name as many columns as the rows have"
        )
    return BadDataError(
        f"{path} line {first.line}: {first.reason} "
        f"({len(bad)} such rows): {how_to_go_on(len(bad), may_set_aside=may_set_aside)}"
    )


def _convert(staging: _Staging, block: int, *, explicit: bool) -> QuoteScan | None:
    """Parse into `staged`; None if a row did not fit into `block` bytes.

    `explicit` says that the user named the dialect, which is then not asked for.
    """
    skipped, dialect = staging.skipped, staging.dialect
    skipped.clear()

    def set_aside(row: pc.InvalidRow) -> str:
        skipped.append(
            BadRow(
                line=row.number,
                fields=row.actual_columns,
                expected=row.expected_columns,
                text=row.text,
            )
        )
        return "skip"

    stream = Utf8Stream(staging.path, staging.encoding, dialect)
    try:
        reader = _open_reader(stream, staging, block, set_aside)
        _write(reader, staging)
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            return None
        stream.scan.close()
        if stream.scan.odd:
            _check(staging, stream.scan, explicit=explicit)
        raise BadDataError(
            f"{staging.path} cannot be parsed as CSV ({first_line(error)}): correct the file"
        ) from None
    except UnicodeEncodeError:
        raise BadDataError(
            f"{staging.path} holds lone surrogates (half characters) in {staging.encoding}: "
            "correct the file"
        ) from None
    finally:
        stream.close()
    scan = stream.scan
    scan.close()
    doubtful = scan.odd or scan.backslash or dialect.escape is not None
    if scan.multi_line or doubtful:
        _check(staging, scan, explicit=explicit)
    return scan


def _check(staging: _Staging, scan: QuoteScan, *, explicit: bool) -> None:
    if explicit:
        scan.backslash = False
    check_dialect(staging.path, staging.encoding, staging.dialect, staging.columns, scan)


def _open_reader(
    stream: Utf8Stream, staging: _Staging, block: int, set_aside: object
) -> pc.CSVStreamingReader:
    dialect, names = staging.dialect, staging.schema.names
    trailing = dialect.trailing
    types = pa.schema([*staging.schema, pa.field(_TRAILING, pa.string())])
    return pc.open_csv(
        pa.PythonFile(stream, mode="r"),
        pc.ReadOptions(
            use_threads=False,
            block_size=block,
            column_names=[*names, _TRAILING] if trailing else None,
            skip_rows=1 if trailing else 0,
        ),
        pc.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char='"' if dialect.quoted else False,
            escape_char=dialect.escape or False,
            newlines_in_values=dialect.quoted,
            ignore_empty_lines=len(names) > 1,
            invalid_row_handler=set_aside,
        ),
        pc.ConvertOptions(
            column_types=types if trailing else staging.schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _write(reader: pc.CSVStreamingReader, staging: _Staging) -> None:
    schema = staging.schema
    with pq.ParquetWriter(staging.staged, schema, compression="lz4") as writer:
        for batch in reader:
            if staging.dialect.trailing:
                behind = batch.column(len(schema))
                if behind.null_count < len(behind):
                    raise BadDataError(
                        f"{staging.path}: some rows have a value behind the last name, others an "
                        "empty field: name all columns in the header"
                    )
                batch = batch.select(range(len(schema)))
            writer.write_batch(batch.cast(schema))


def _with_lines(staging: _Staging) -> Iterator[BadRow]:
    """Replace record numbers by line numbers, which blank lines and multi-line values shift."""
    skipped, dialect = staging.skipped, staging.dialect
    if not skipped:
        return
    expected = staging.columns + dialect.trailing
    with open_text(staging.path, staging.encoding) as stream:
        before = stream.read(dialect.skipped).count("\n")
        reader = dialect.reader(stream)
        next((row for row in reader if row), None)  # the header
        lines = [before + reader.line_num for row in reader if row and len(row) != expected]
    if len(lines) != len(skipped):
        yield from skipped
        return
    for bad, line in zip(skipped, lines, strict=True):
        yield BadRow(line=line, fields=bad.fields, expected=bad.expected, text=bad.text)
