"""CSV files: decoded, parsed and checked once, then staged to Parquet.

Every value stays the text it is in the file: guessing types would turn the
ticker `0700` into 700. An empty field is NULL, a quoted empty one is ''.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pac
import pyarrow.csv as pc
import pyarrow.parquet as pq

from .errors import BadDataError, MissingInputError, StorageError, UsageError
from .sources import check_column_names
from .store import first_line
from .suffixes import suffix_of

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


def _open_bytes(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if suffix_of(path) == ".csv.gz" else path.open("rb")


def _check_encoding(path: Path, encoding: str) -> None:
    """Decode the whole file once: an error here knows its line, the parser's would not."""
    try:
        "a".encode(encoding)  # refuses codecs that are no text encodings, such as hex
        decoder = codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError):
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
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError):
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
        start = stream.read(1 << 16).lstrip("\r\n")
    outside_quotes = re.sub(r'"[^"]*"', "", start)
    line = re.split(r"[\r\n]", outside_quotes, maxsplit=1)[0]
    delimiter = max(_DELIMITERS, key=line.count)
    with _open_text(path, encoding) as stream:
        try:
            header = next((row for row in csv.reader(stream, delimiter=delimiter) if row), [])
        except csv.Error as error:
            raise BadDataError(f"{path}: its header cannot be parsed ({error})") from None
    if not any(name.strip() for name in header):
        raise BadDataError(f"{path} has no header line: it needs one that names its columns")
    return header, delimiter


class _Utf8Stream(io.RawIOBase):
    """The file's bytes as UTF-8, for the parser: no byte-order mark, no blank lines before
    the header, a line end after the last row."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._text = _open_text(path, encoding)
        self._rest = b""
        self._last = ""
        self.quotes = 0
        """How many have been read."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = self._text.read(1 << 20)
            if not chunk:
                self._rest += b"\n" if self._last not in ("", "\n", "\r") else b""
                self._last = ""
                break
            if not self._last:
                chunk = chunk.lstrip("\r\n")
            self._last = chunk[-1:]
            self.quotes += chunk.count('"')
            self._rest += chunk.encode()
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
        multi_line = _write(reader, schema, staged)
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            return False
        if stream.quotes % 2:
            _check_quotes(path, encoding, delimiter)
        raise BadDataError(f"{path} cannot be parsed as CSV: {first_line(error)}") from None
    except UnicodeEncodeError:
        raise BadDataError(
            f"{path} holds half characters (lone surrogates) in {encoding}: mend the file"
        ) from None
    finally:
        stream.close()
    if multi_line or stream.quotes % 2 or any(_is_multi_line(row.text) for row in skipped):
        _check_quotes(path, encoding, delimiter)
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


def _check_quotes(path: Path, encoding: str, delimiter: str) -> None:
    """Refuse a quote that is not closed: it makes the rows after it part of one value."""
    with _open_text(path, encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        while True:
            before = reader.line_num
            try:
                if next(reader, None) is None:
                    return
            except csv.Error as error:
                # Within one line, text after a closing quote swallows nothing.
                if "expected after" in str(error) and reader.line_num == before + 1:
                    continue
                raise BadDataError(
                    f"{path} line {before + 1}: a quote is opened and not closed, which makes "
                    "the rows after it part of one value: mend the file"
                ) from None


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
