"""CSV files: decoded, parsed and checked once, then staged to Parquet.

Every value stays the text it is in the file: guessing types would turn the
ticker `0700` into 700. An empty field is NULL, a quoted empty one is ''.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pac
import pyarrow.csv as pc
import pyarrow.parquet as pq

from ..errors import BadDataError, first_line
from .columns import check_column_names
from .csv_text import (
    LARGEST_ROW_BYTES,
    Utf8Stream,
    check_encoding,
    check_quotes,
    open_text,
    read_header,
)

_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A CSV record with the wrong number of fields."""

    line: int
    """Line of the file on which the record ends, from 1."""
    fields: int
    expected: int
    text: str


@dataclass(frozen=True, kw_only=True)
class StagedCsv:
    """A CSV file as Parquet, with the rows set aside on the way."""

    file: Path
    bad_rows: tuple[BadRow, ...]


def stage_csv(path: Path, folder: Path, *, encoding: str, max_bad_rows: int) -> StagedCsv:
    """Write a `.csv` or `.csv.gz` file as Parquet into `folder` and return it.

    Raises:
        MissingInputError: no such file.
        UsageError: unknown encoding.
        BadDataError: not in that encoding, no header, or more bad rows than allowed.
    """
    check_encoding(path, encoding)
    header, delimiter = read_header(path, encoding)
    check_column_names(header, path)
    staged = folder / f"{len(list(folder.iterdir()))}.parquet"
    schema = pa.schema([(name, pa.string()) for name in header])
    skipped: list[BadRow] = []
    block = _BLOCK_BYTES
    while not _convert(path, encoding, delimiter, schema, staged, skipped, block):
        block *= 4
        if block > LARGEST_ROW_BYTES:
            raise BadDataError(f"{path} has a row of more than 64 MB: check its quotes")
    bad = tuple(_with_lines(path, encoding, delimiter, len(header), skipped))
    if len(bad) > max_bad_rows:
        first = bad[0]
        raise BadDataError(
            f"{path} line {first.line}: {first.fields} fields instead of {first.expected} "
            f"({len(bad)} such rows): mend the file, or set them aside with "
            f"--max-bad-rows {len(bad)}"
        )
    return StagedCsv(file=staged, bad_rows=bad)


def _convert(
    path: Path,
    encoding: str,
    delimiter: str,
    schema: pa.Schema,
    staged: Path,
    skipped: list[BadRow],
    block: int,
) -> bool:
    """Parse into `staged`; False if a row did not fit into `block` bytes."""
    skipped.clear()

    def set_aside(row: pc.InvalidRow) -> str:
        skipped.append(
            BadRow(line=row.number, fields=row.actual_columns, expected=len(schema), text=row.text)
        )
        return "skip"

    stream = Utf8Stream(path, encoding)
    try:
        reader = pc.open_csv(
            pa.PythonFile(stream, mode="r"),
            pc.ReadOptions(use_threads=False, block_size=block),
            pc.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                ignore_empty_lines=len(schema) > 1,
                invalid_row_handler=set_aside,
            ),
            pc.ConvertOptions(
                column_types=schema,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        multi_line = _write(reader, schema, staged)
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            return False
        if stream.quotes % 2:
            check_quotes(path, encoding, delimiter)
        raise BadDataError(f"{path} cannot be parsed as CSV: {first_line(error)}") from None
    except UnicodeEncodeError:
        raise BadDataError(
            f"{path} holds half characters (lone surrogates) in {encoding}: mend the file"
        ) from None
    finally:
        stream.close()
    if multi_line or stream.quotes % 2 or any(_is_multi_line(row.text) for row in skipped):
        check_quotes(path, encoding, delimiter)
    return True


def _write(reader: pc.CSVStreamingReader, schema: pa.Schema, staged: Path) -> bool:
    """Write all batches and return whether some value goes over several lines."""
    multi_line = False
    with pq.ParquetWriter(staged, schema, compression="lz4") as writer:
        for batch in reader:
            writer.write_batch(batch.cast(schema))
            multi_line = multi_line or any(
                pac.any(pac.match_substring(column, end)).as_py()
                for column in batch.columns
                for end in ("\n", "\r")
            )
    return multi_line


def _is_multi_line(record: str) -> bool:
    return "\n" in record.strip() or "\r" in record.strip()


def _with_lines(
    path: Path, encoding: str, delimiter: str, expected: int, skipped: list[BadRow]
) -> Iterator[BadRow]:
    """Replace record numbers by line numbers, which blank lines and multi-line values shift."""
    if not skipped:
        return
    with open_text(path, encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        lines = [reader.line_num for row in reader if row and len(row) != expected]
    if len(lines) != len(skipped):
        yield from skipped
        return
    for bad, line in zip(skipped, lines, strict=True):
        yield BadRow(line=line, fields=bad.fields, expected=expected, text=bad.text)
