"""Standard input and output: read whole before anything is done, written whole or not at all.

What comes through a pipe has no name by which it would be known when it comes again. It gets
that of its content: the same rows replace themselves, others are another input. Who delivers
corrected rows under one name gives that name.
"""

import hashlib
import os
import select
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from ...errors import BadDataError, UsageError
from ..base import Sink, Source
from ..columns import RowSchema
from ..paths import format_of, stem_of
from ..provenance import Provenance

STANDARD_INPUT: Final = "stdin://"
"""How the identity of what was piped in begins."""
STANDARD_OUTPUT: Final = "-"
"""What `StandardOutput` has for a path."""
_CHUNK = 1 << 20
_IMPATIENCE = 0.2
_LONGEST_NAME = 200


def copy_standard_input(
    folder: Path, kind: str, name: str | None, copied: Callable[[int, int], None]
) -> tuple[Path, str]:
    """Copy all that comes into a file of `folder`; returns it and the input's identity.

    `kind` is one of `text.formats.INPUT_FORMATS`. `copied` is told the MB so far, at least every
    fifth of a second; it may raise.

    Raises:
        BadDataError: nothing comes.
        UsageError: the name is none.
    """
    digest, done = hashlib.sha256(), 0
    file = folder / f"{_stem(name) if name is not None else 'stdin'}.{kind}"
    with file.open("wb") as target:
        for chunk in _chunks(sys.stdin.buffer.fileno()):
            digest.update(chunk)
            target.write(chunk)
            done += len(chunk)
            copied(done // 10**6, done // 10**6)
    if not done:
        raise BadDataError("nothing came on standard input: check the command before the pipe")
    return file, STANDARD_INPUT + (name or digest.hexdigest()[:32])


def _stem(name: str) -> str:
    """Return what an output in a folder is called after."""
    path = Path(name)
    if not path.name or len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise UsageError("--input-name is empty or too long: take a name such as a file's")
    return stem_of(path) if format_of(path) else path.name


def _chunks(descriptor: int) -> Iterator[bytes]:
    """Yield what comes, nothing now and then while it does not: a signal only sets a flag."""
    while True:
        if not select.select([descriptor], [], [], _IMPATIENCE)[0]:
            yield b""
            continue
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return
        yield chunk


def waiting_place(folder: Path, wanted: str | None, of_input: str | None) -> tuple[Path, str]:
    """Return a file where rows wait for standard output, and as what they are written.

    That is what is `wanted`, or else what the input is, CSV for a table.

    Raises:
        UsageError: it is no text, and standard output is a terminal.
    """
    kind = wanted or of_input or "csv"
    if sys.stdout.isatty() and (kind == "parquet" or "." in kind):
        raise UsageError(
            f"{kind} is nothing for a terminal: write to a file or a pipe, or choose "
            "--output-format csv"
        )
    return folder / f"stdout.{kind}", kind


class StandardOutput:
    """Standard output as a sink: another sink's file, copied there once it is whole."""

    def __init__(self, inner: Sink) -> None:
        self.path = STANDARD_OUTPUT
        self.table: str | None = None
        self._inner = inner

    def exists(self) -> bool:
        return False

    def provenance(self) -> Provenance | None:
        return None

    def check_replaceable(
        self, source: Source, *, overwrite: bool, limit: int | None = None
    ) -> None:
        return None

    def check_columns(self, schema: RowSchema) -> None:
        self._inner.check_columns(schema)

    def check_writable(self) -> None:
        self._inner.check_writable()

    def write(
        self,
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        self._inner.write(schema, batches, provenance)
        try:
            with Path(self._inner.path).open("rb") as whole:
                shutil.copyfileobj(whole, sys.stdout.buffer, _CHUNK)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the reader has had enough, which is no failure
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
