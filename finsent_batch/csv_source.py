"""CSV files: decoded, parsed and checked once, then staged to Parquet.

Every value stays the text it is in the file: guessing types would turn the
ticker `0700` into 700. An empty field is NULL, a quoted empty one is ''.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from .errors import BadDataError, MissingInputError, StorageError, UsageError
from .sources import check_column_names
from .store import first_line

_DELIMITERS = ",;\t|"
_BLOCK_BYTES = 1 << 22
# A row longer than the parser's block is refused; 64 MB holds any sane one.
_LARGEST_ROW_BYTES = 1 << 26


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
    _check_encoding(path, encoding)
    header, delimiter = _read_header(path, encoding)
    check_column_names(header, path)
    staged = folder / f"{len(list(folder.iterdir()))}.parquet"
    schema = pa.schema([(name, pa.string()) for name in header])
    skipped: list[BadRow] = []
    block = _BLOCK_BYTES
    while not _convert(path, encoding, delimiter, schema, staged, skipped, block):
        block *= 4
        if block > _LARGEST_ROW_BYTES:
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


def _open_bytes(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _check_encoding(path: Path, encoding: str) -> None:
    """Decode the whole file once: an error here knows its line, the parser's would not."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise UsageError(f"unknown encoding {encoding!r}: try utf-8, latin-1, cp1252") from None
    line, size = 1, 0
    try:
        with _open_bytes(path) as stream:
            while chunk := stream.read(1 << 20):
                size += len(chunk)
                line += decoder.decode(chunk).count("\n")
            decoder.decode(b"", final=True)
    except FileNotFoundError:
        raise MissingInputError(f"{path} does not exist: check the path") from None
    except UnicodeDecodeError as error:
        line += bytes(error.object)[: error.start].count(b"\n")
        raise BadDataError(
            f"{path} is not {encoding} (line {line}): "
            "name its encoding, such as --encoding latin-1 or cp1252"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadDataError(f"{path} is not whole gzip data ({first_line(error)})") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {first_line(error)}") from None
    if size == 0:
        raise BadDataError(f"{path} is empty: it needs a header line at least")


def _open_text(path: Path, encoding: str) -> IO[str]:
    stream = io.TextIOWrapper(_open_bytes(path), encoding=encoding, newline="")
    if stream.read(1) == "\ufeff":
        return stream
    stream.seek(0)
    return stream


def _read_header(path: Path, encoding: str) -> tuple[list[str], str]:
    """Return the column names and the delimiter: the one most frequent in the header."""
    csv.field_size_limit(_LARGEST_ROW_BYTES)
    with _open_text(path, encoding) as stream:
        start = stream.read(1 << 16)
    line = start.splitlines()[0] if start.strip() else ""
    delimiter = max(_DELIMITERS, key=line.count)
    rows = csv.reader(io.StringIO(start, newline=""), delimiter=delimiter)
    header = next((row for row in rows if row), [])
    if not any(name.strip() for name in header):
        raise BadDataError(f"{path} has no header line: it needs one that names its columns")
    return header, delimiter


class _Utf8Stream(io.RawIOBase):
    """The file's bytes as UTF-8 without a byte-order mark, for the parser."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._text = _open_text(path, encoding)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = self._text.read(1 << 20)
            if not chunk:
                break
            # Lone surrogates, as some UTF-16 files hold, have no UTF-8 form.
            self._rest += chunk.encode("utf-8", "replace")
        cut = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:cut], self._rest[cut:]
        return data

    def close(self) -> None:
        self._text.close()
        super().close()


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

    stream = _Utf8Stream(path, encoding)
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
        last = _write(reader, schema, staged)
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            return False
        raise BadDataError(f"{path} cannot be parsed as CSV: {first_line(error)}") from None
    finally:
        stream.close()
    _check_last_row(path, encoding, last)
    return True


def _write(reader: pc.CSVStreamingReader, schema: pa.Schema, staged: Path) -> dict[str, str | None]:
    """Write all batches and return the last row."""
    last: dict[str, str | None] = {}
    with pq.ParquetWriter(staged, schema, compression="lz4") as writer:
        for batch in reader:
            writer.write_batch(batch.cast(schema))
            if batch.num_rows:
                last = batch.slice(batch.num_rows - 1).to_pylist()[0]
    return last


def _check_last_row(path: Path, encoding: str, last: dict[str, str | None]) -> None:
    """An unclosed quote makes the rest of the file one value of the last row: refuse that."""
    if not any("\n" in (value or "") or "\r" in (value or "") for value in last.values()):
        return
    with _open_text(path, encoding) as stream:
        quotes = sum(chunk.count('"') for chunk in iter(lambda: stream.read(1 << 20), ""))
    if quotes % 2:
        raise BadDataError(
            f"{path} has a quote that is never closed; the last row swallows the rest of the "
            f"file (it begins {next(v for v in last.values() if v)[:40]!r}): mend the file"
        )


def _with_lines(
    path: Path, encoding: str, delimiter: str, expected: int, skipped: list[BadRow]
) -> Iterator[BadRow]:
    """Replace record numbers by line numbers, which blank lines and multi-line values shift."""
    if not skipped:
        return
    with _open_text(path, encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        lines = [reader.line_num for row in reader if row and len(row) != expected]
    if len(lines) != len(skipped):
        yield from skipped
        return
    for bad, line in zip(skipped, lines, strict=True):
        yield BadRow(line=line, fields=bad.fields, expected=expected, text=bad.text)
